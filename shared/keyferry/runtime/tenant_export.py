"""The export of a tenant: everything that is its own and no secret, as JSON lines, read page by page over the bus.

A line is `{"kind": …, "data": …}`. The first says what the export is of, the last that it is complete: without it, it is not.
"""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Protocol

from pydantic import BaseModel

from keyferry.contracts.alert_management import ALERT_LIST, ALERT_RULE_LIST
from keyferry.contracts.alert_rules import ListAlertRules
from keyferry.contracts.alerts import ListAlerts
from keyferry.contracts.audit import ListAudit
from keyferry.contracts.budget import ListBudgets
from keyferry.contracts.channels import Q, R, Subject
from keyferry.contracts.credit_management import MAX_HISTORY_PAGE, GetCredits, ListCreditHistory
from keyferry.contracts.feedback import ListFeedback
from keyferry.contracts.integration_management import INTEGRATION_SECRET_LIST
from keyferry.contracts.integration_secrets import ListIntegrationSecrets
from keyferry.contracts.internal_services import INTERNAL_SERVICE_LIST, ListInternalServices
from keyferry.contracts.key import ListKeys
from keyferry.contracts.ledger_management import BUDGET_LIST, CREDIT_GET, CREDIT_HISTORY, REQUEST_LIST
from keyferry.contracts.membership import ListInvitations, ListMembers, ListTeams
from keyferry.contracts.membership_management import INVITATION_LIST, MEMBER_LIST, TEAM_LIST
from keyferry.contracts.preferences import ListPreferences
from keyferry.contracts.request_log import MAX_PAGE, ListRequests
from keyferry.contracts.route import ListEndpoints
from keyferry.contracts.routing_management import FEEDBACK_LIST, PREFERENCES_LIST, RULES_GET, RULES_VERSIONS
from keyferry.contracts.rule_management import MAX_VERSIONS, GetRules, ListRuleVersions
from keyferry.contracts.tenancy import GetTenant, ListClientTokens
from keyferry.contracts.topology import AUDIT_LIST, ENDPOINT_LIST, KEY_LIST, TENANT_GET, TOKEN_LIST

_SECONDS = 60.0
_AUDIT_PAGE = 500


class AskOwner(Protocol):
    """A management request over the bus."""

    async def __call__(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float) -> R:
        """Return the owner's answer. Raises what the connection raises."""


class TenantExport:
    """One export. Raises what `ask` raises; the lines so far are then incomplete."""

    def __init__(self, ask: AskOwner, tenant: str) -> None:
        self._ask = ask
        self._tenant = tenant
        self.lines_written = 0

    async def lines(self) -> AsyncIterator[str]:
        """Yield the lines, with their ends."""
        begun = datetime.now(UTC).isoformat()
        yield self._line("export", {"tenant": self._tenant, "format": 1, "begun_at": begun})
        for part in (
            self._settings(),
            self._people(),
            self._routing(),
            self._credits(),
            self._requests(),
            self._audit(),
        ):
            async for line in part:
                yield line
        yield self._line("end", {"lines": self.lines_written + 1})

    async def _settings(self) -> AsyncIterator[str]:
        tenant = self._tenant
        yield self._line("tenant", await self._read(TENANT_GET, GetTenant(tenant=tenant)))
        for token in (await self._read(TOKEN_LIST, ListClientTokens(tenant=tenant))).tokens:
            yield self._line("client_token", token)
        for key in (await self._read(KEY_LIST, ListKeys(tenant=tenant))).keys:
            yield self._line("provider_key", key)
        secrets = await self._read(INTEGRATION_SECRET_LIST, ListIntegrationSecrets(tenant=tenant))
        for secret in secrets.secrets:
            yield self._line("integration_secret", secret)
        for program in (
            await self._read(INTERNAL_SERVICE_LIST, ListInternalServices(tenant=tenant, revoked=True))
        ).services:
            yield self._line("internal_service", program)

    async def _people(self) -> AsyncIterator[str]:
        tenant = self._tenant
        for member in (await self._read(MEMBER_LIST, ListMembers(tenant=tenant))).members:
            yield self._line("member", member)
        for team in (await self._read(TEAM_LIST, ListTeams(tenant=tenant))).teams:
            yield self._line("team", team)
        for invitation in (await self._read(INVITATION_LIST, ListInvitations(tenant=tenant))).invitations:
            yield self._line("invitation", invitation)

    async def _routing(self) -> AsyncIterator[str]:
        tenant = self._tenant
        for endpoint in (await self._read(ENDPOINT_LIST, ListEndpoints(tenant=tenant))).endpoints:
            yield self._line("endpoint", endpoint)
        yield self._line("preferences", await self._read(PREFERENCES_LIST, ListPreferences(tenant=tenant)))
        before: int | None = None
        while True:
            command = ListRuleVersions(tenant=tenant, before=before, limit=MAX_VERSIONS)
            versions = (await self._read(RULES_VERSIONS, command)).versions
            for one in versions:
                yield self._line(
                    "routing_rules", await self._read(RULES_GET, GetRules(tenant=tenant, version=one.version))
                )
            if len(versions) < MAX_VERSIONS:
                break
            before = versions[-1].version
        for budget in (await self._read(BUDGET_LIST, ListBudgets(tenant=tenant))).budgets:
            yield self._line("budget", budget)
        rules = (await self._read(ALERT_RULE_LIST, ListAlertRules(tenant=tenant))).rules
        for rule in rules:
            yield self._line("alert_rule", rule)
        older: str | None = None
        while True:
            alerts = await self._read(ALERT_LIST, ListAlerts(tenant=tenant, after=older, limit=200))
            for alert in alerts.alerts:
                yield self._line("alert", alert)
            if (older := alerts.next) is None:
                break
        yield self._line("ratings", await self._read(FEEDBACK_LIST, ListFeedback(tenant=tenant)))

    async def _credits(self) -> AsyncIterator[str]:
        yield self._line("credits", await self._read(CREDIT_GET, GetCredits(tenant=self._tenant)))
        after: str | None = None
        while True:
            command = ListCreditHistory(tenant=self._tenant, after=after, limit=MAX_HISTORY_PAGE)
            page = await self._read(CREDIT_HISTORY, command)
            for entry in page.entries:
                yield self._line("credit_entry", entry)
            if (after := page.next) is None:
                return

    async def _requests(self) -> AsyncIterator[str]:
        """Yield every request with its attempts: what was used, and what it cost."""
        query = ListRequests(tenant=self._tenant, limit=MAX_PAGE, settled=True)
        while True:
            page = await self._read(REQUEST_LIST, query)
            for request in page.requests:
                yield self._line("request", request)
            if page.next is None:
                return
            query = query.model_copy(update={"after": page.next})

    async def _audit(self) -> AsyncIterator[str]:
        before: int | None = None
        while True:
            command = ListAudit(tenant=self._tenant, before=before, limit=_AUDIT_PAGE)
            entries = (await self._read(AUDIT_LIST, command)).entries
            for entry in entries:
                yield self._line("audit_entry", entry)
            if len(entries) < _AUDIT_PAGE:
                return
            before = entries[-1].position

    async def _read(self, subject: Subject[Q, R], question: Q) -> R:
        return await self._ask(subject, question, timeout_seconds=_SECONDS)

    def _line(self, kind: str, data: BaseModel | dict[str, object]) -> str:
        self.lines_written += 1
        value = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
        return json.dumps({"kind": kind, "data": value}, ensure_ascii=False, separators=(",", ":")) + "\n"
