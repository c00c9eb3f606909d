"""The export of a tenant: every list page by page, complete only with its last line, and no secret in it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from keyferry.contracts.alert_management import ALERT_LIST, ALERT_RULE_LIST
from keyferry.contracts.alert_rules import AlertRules
from keyferry.contracts.alerts import Alerts
from keyferry.contracts.audit import AuditEntries, AuditEntry, AuditEvent, AuditOutcome, ListAudit
from keyferry.contracts.budget import Budgets
from keyferry.contracts.channels import Q, R, Subject
from keyferry.contracts.credit_management import CreditHistory, ListCreditHistory
from keyferry.contracts.envelope import Message
from keyferry.contracts.feedback import TenantRatings
from keyferry.contracts.integration_management import INTEGRATION_SECRET_LIST
from keyferry.contracts.integration_secrets import IntegrationSecretList
from keyferry.contracts.internal_services import INTERNAL_SERVICE_LIST, InternalServices
from keyferry.contracts.key import ProviderKeys
from keyferry.contracts.ledger_management import BUDGET_LIST, CREDIT_GET, CREDIT_HISTORY, REQUEST_LIST
from keyferry.contracts.membership import Invitations, Members, Teams
from keyferry.contracts.membership_management import INVITATION_LIST, MEMBER_LIST, TEAM_LIST
from keyferry.contracts.preferences import SavedScopes
from keyferry.contracts.request_log import RequestPage
from keyferry.contracts.route import Endpoints
from keyferry.contracts.routing_management import FEEDBACK_LIST, PREFERENCES_LIST, RULES_GET, RULES_VERSIONS
from keyferry.contracts.rule_management import ListRuleVersions, RoutingRules, RuleVersions, RuleVersionSummary
from keyferry.contracts.tenancy import ClientTokens, Tenant, Tier
from keyferry.contracts.topology import AUDIT_LIST, ENDPOINT_LIST, KEY_LIST, TENANT_GET, TOKEN_LIST
from keyferry.runtime import tenant_export
from keyferry.runtime.tenant_export import TenantExport

AT = datetime(2026, 11, 30, tzinfo=UTC)


class Away(Exception):
    """A service does not answer."""


class Services:
    """Owners that answer by script."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Message]] = []
        self.away: str | None = None
        self.answers: dict[str, Message | Callable[[Any], Message]] = {
            TENANT_GET.name: Tenant(tenant="acme", name="Acme", tier=Tier.STARTER),
            TOKEN_LIST.name: ClientTokens(tokens=[]),
            KEY_LIST.name: ProviderKeys(keys=[]),
            INTERNAL_SERVICE_LIST.name: InternalServices(services=[]),
            MEMBER_LIST.name: Members(members=[]),
            TEAM_LIST.name: Teams(teams=[]),
            INVITATION_LIST.name: Invitations(invitations=[]),
            ENDPOINT_LIST.name: Endpoints(endpoints=[]),
            PREFERENCES_LIST.name: SavedScopes.model_construct(scopes=[]),
            RULES_VERSIONS.name: RuleVersions(versions=[]),
            RULES_GET.name: RoutingRules(tenant="acme"),
            BUDGET_LIST.name: Budgets(tenant="acme", budgets=[], as_of=AT),
            FEEDBACK_LIST.name: TenantRatings(tenant="acme", models=[]),
            CREDIT_GET.name: Tenant(tenant="acme", name="stands for a balance", tier=Tier.STARTER),
            CREDIT_HISTORY.name: CreditHistory(tenant="acme", entries=[]),
            REQUEST_LIST.name: RequestPage(requests=[], as_of=AT),
            AUDIT_LIST.name: AuditEntries(entries=[]),
            INTEGRATION_SECRET_LIST.name: IntegrationSecretList(tenant="acme", secrets=[]),
            ALERT_RULE_LIST.name: AlertRules(tenant="acme", rules=[]),
            ALERT_LIST.name: Alerts(tenant="acme", alerts=[], open=0),
        }

    async def ask(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float) -> R:
        assert isinstance(question, Message)
        if subject.name == self.away:
            raise Away
        self.asked.append((subject.name, question))
        answer = self.answers[subject.name]
        found: Any = answer(question) if callable(answer) else answer
        return found  # type: ignore[no-any-return]


async def exported(services: Services) -> list[dict[str, Any]]:
    return [json.loads(line) async for line in TenantExport(services.ask, "acme").lines()]


def entry(position: int) -> AuditEntry:
    event = AuditEvent(
        event_id=f"aud_{position}",
        service="router",
        tenant="acme",
        actor="kim",
        action="endpoint.save",
        target="lab",
        outcome=AuditOutcome.DONE,
        at=AT,
        sequence=position,
    )
    return AuditEntry(position=position, event=event, previous="p", digest="d", recorded_at=AT)


async def test_an_export_begins_with_what_it_is_of_and_ends_with_its_count() -> None:
    services = Services()
    lines = await exported(services)
    assert lines[0]["kind"] == "export"
    assert lines[0]["data"]["tenant"] == "acme"
    assert lines[-1] == {"kind": "end", "data": {"lines": len(lines)}}
    assert {name for name, _ in services.asked} == services.answers.keys() - {RULES_GET.name}
    assert all(getattr(question, "tenant", None) == "acme" for _, question in services.asked)


async def test_lists_are_read_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_export, "_AUDIT_PAGE", 2)
    services = Services()

    def audit(command: ListAudit) -> AuditEntries:
        begin = 5 if command.before is None else command.before - 1
        return AuditEntries(entries=[entry(n) for n in range(begin, max(0, begin - command.limit), -1)])

    def history(command: ListCreditHistory) -> CreditHistory:
        return CreditHistory(
            tenant="acme", entries=[], next=None if command.after == "2" else str(int(command.after or 0) + 1)
        )

    def versions(command: ListRuleVersions) -> RuleVersions:
        found = RuleVersionSummary(version=1, actor="kim", published_at=AT, rules=0, note="")
        return RuleVersions(published=1, versions=[found])

    services.answers |= {AUDIT_LIST.name: audit, CREDIT_HISTORY.name: history, RULES_VERSIONS.name: versions}
    lines = await exported(services)
    positions = [line["data"]["position"] for line in lines if line["kind"] == "audit_entry"]
    assert positions == [5, 4, 3, 2, 1]
    assert [name for name, _ in services.asked].count(CREDIT_HISTORY.name) == 3
    assert [line["kind"] for line in lines].count("routing_rules") == 1


async def test_an_export_that_cannot_be_read_to_its_end_has_no_last_line() -> None:
    services = Services()
    services.away = AUDIT_LIST.name
    lines: list[str] = []

    async def read() -> None:
        async for line in TenantExport(services.ask, "acme").lines():
            lines.append(line)

    with pytest.raises(Away):
        await read()
    assert len(lines) > 3
    assert json.loads(lines[-1])["kind"] != "end"
