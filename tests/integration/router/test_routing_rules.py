"""Routing rules over the bus: from a draft over a dry run to published rules that act, and back."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from keyferry.contracts.audit import AuditEvent
from keyferry.contracts.past_decisions import ListDecisions, PastAttempt, PastDecision, PastDecisions
from keyferry.contracts.routing_management import (
    DECISION_LIST,
    RULES_COMPARE,
    RULES_DISCARD_DRAFT,
    RULES_DRY_RUN,
    RULES_GET,
    RULES_PUBLISH,
    RULES_ROLL_BACK,
    RULES_SAVE_DRAFT,
    RULES_VERSIONS,
)
from keyferry.contracts.rule_management import (
    CompareRules,
    DiscardRuleDraft,
    DryRunRules,
    GetRules,
    ListRuleVersions,
    PublishRules,
    RollBackRules,
    RuleChangeKind,
    SaveRuleDraft,
)
from keyferry.contracts.rules import FindingCode
from keyferry.contracts.tenancy import ClientTokens, ListClientTokens, Tenant, Tier
from keyferry.contracts.topology import AUDIT_RECORDED, TOKEN_LIST, Role
from keyferry.contracts.usage import KeySource, Outcome, TokenUsage
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from tests.integration.cli.answering import owner
from tests.integration.permissions.watcher import watching
from tests.integration.router.processes import RouterServers, Routing
from tests.support.router.keys_and_prices import key_facts
from tests.support.router.rule_sets import rule, rule_set
from tests.support.waiting import eventually

ACME = Tenant(tenant="acme", name="Acme", tier=Tier.PROFESSIONAL)
KEYS = [key_facts("openai"), key_facts("anthropic", "key_2")]
TO_CLAUDE = rule_set(rule("code-to-claude", "claude-haiku-4-5", operation="code"))
PAST = PastDecision(
    decision_id="dec_1",
    request_id="req_past",
    tenant="acme",
    decided_at=datetime(2026, 11, 1, tzinfo=UTC),
    model_asked="gpt-4o",
    operation="code",
    attempts=[
        PastAttempt(
            provider="openai",
            model="gpt-4o",
            key_source=KeySource.BYOK,
            outcome=Outcome.COMPLETED,
            token_usage=TokenUsage(input=1_000_000, output=1000),
            latency_ms=900,
        )
    ],
)


@asynccontextmanager
async def operating(servers: RouterServers) -> AsyncIterator[tuple[Routing, Callable[..., Any]]]:
    """Run a router with a ledger and a directory that answer, and yield how the operator asks it."""
    asked: list[ListDecisions] = []

    async def decisions(command: ListDecisions) -> PastDecisions:
        asked.append(command)
        return PastDecisions(decisions=[PAST])

    async def tokens(command: ListClientTokens) -> ClientTokens:
        return ClientTokens(tokens=[])

    async with (
        servers.router([ACME], KEYS) as routing,
        owner(servers.bus, Role.USAGE_LEDGER, DECISION_LIST, decisions),
        owner(servers.bus, Role.TENANT_DIRECTORY, TOKEN_LIST, tokens),
        servers.bus.connected(Role.OPERATOR) as operator,
    ):
        yield routing, _asking(operator)


def _asking(operator: Bus) -> Callable[..., Any]:
    async def ask(subject: Any, command: Any) -> Any:
        return await operator.ask(subject, command, timeout_seconds=20)

    return ask


async def test_rules_go_from_a_draft_to_requests_and_back(servers: RouterServers) -> None:
    async with operating(servers) as (routing, ask), watching(servers.bus) as watcher:
        saved = await ask(RULES_SAVE_DRAFT, SaveRuleDraft(tenant="acme", rule_set=TO_CLAUDE, revision=0))
        assert (saved.draft.revision, saved.draft.based_on, saved.findings) == (1, 0, [])
        with pytest.raises(Refused, match="the draft is at revision 1, saved by operator"):
            await ask(RULES_SAVE_DRAFT, SaveRuleDraft(tenant="acme", rule_set=TO_CLAUDE, revision=0))

        report = await ask(RULES_DRY_RUN, DryRunRules(tenant="acme"))
        assert (report.requests, report.changed, report.refused) == (1, 1, 0)
        assert report.moves[0].model_dump(include={"before", "after", "requests", "latency_before_ms"}) == {
            "before": "openai/gpt-4o",
            "after": "anthropic/claude-haiku-4-5",
            "requests": 1,
            "latency_before_ms": 900,
        }
        assert report.cost_before_usd is not None
        assert report.cost_after_usd is not None
        assert report.cost_after_usd < report.cost_before_usd
        assert report.examples[0].request_id == "req_past"

        run, _ = await routing.chat("gpt-4o", operation="code")
        assert run is not None
        assert run.provider == "openai"
        first = await ask(RULES_PUBLISH, PublishRules(tenant="acme", note="claude writes better code"))
        assert (first.version.version, first.changed) == (1, True)
        await eventually("the rules act", lambda: routing.service.facts()["rule_sets"] == "1")
        run, _ = await routing.chat("gpt-4o", operation="code")
        assert run is not None
        assert (run.provider, run.model_asked) == ("anthropic", "gpt-4o")
        run, _ = await routing.chat("gpt-4o", operation="chat")
        assert run is not None
        assert run.provider == "openai"
        again = await ask(RULES_PUBLISH, PublishRules(tenant="acme", rule_set=TO_CLAUDE, expected_version=1))
        assert (again.version.version, again.changed) == (1, False)

        other = rule_set(rule("code", "gpt-4o", operation="code"))
        second = await ask(RULES_PUBLISH, PublishRules(tenant="acme", rule_set=other))
        with pytest.raises(Refused, match="version 2 is published, by operator: compare with it"):
            await ask(RULES_PUBLISH, PublishRules(tenant="acme", rule_set=TO_CLAUDE, expected_version=1))
        difference = await ask(RULES_COMPARE, CompareRules(tenant="acme", rule_set=TO_CLAUDE))
        assert [(each.rule, each.change) for each in difference.changes] == [
            ("code", RuleChangeKind.REMOVED),
            ("code-to-claude", RuleChangeKind.ADDED),
        ]
        assert {"-  - name: code", "+  - name: code-to-claude"} <= set(difference.text)
        third = await ask(RULES_ROLL_BACK, RollBackRules(tenant="acme", version=1, actor="console:operator"))
        assert (second.version.version, third.version.version, third.version.restored_from) == (2, 3, 1)

        found = await ask(RULES_GET, GetRules(tenant="acme"))
        assert (found.published, found.version, found.draft) == (3, third.version, None)
        assert (await ask(RULES_GET, GetRules(tenant="acme", version=2))).version == second.version
        listed = await ask(RULES_VERSIONS, ListRuleVersions(tenant="acme", limit=2))
        assert [(each.version, each.rules, each.restored_from) for each in listed.versions] == [(3, 1, 1), (2, 1, None)]
        older = await ask(RULES_VERSIONS, ListRuleVersions(tenant="acme", before=2))
        assert [each.note for each in older.versions] == ["claude writes better code"]

        subject = AUDIT_RECORDED.format(service=Role.ROUTER.value)
        await eventually("every change is audited", lambda: len(watcher.received[subject]) >= 4)
        events = [AuditEvent.decode(data) for data in watcher.received[subject]]
    assert [(event.action, event.target, event.actor) for event in events] == [
        ("rule_draft.save", "revision 1", "operator"),
        ("routing_rules.publish", "version 1", "operator"),
        ("routing_rules.publish", "version 2", "operator"),
        ("routing_rules.roll_back", "version 3", "console:operator"),
    ]


async def test_what_cannot_work_is_not_published_and_the_published_version_stays(servers: RouterServers) -> None:
    async with operating(servers) as (routing, ask):
        await ask(RULES_PUBLISH, PublishRules(tenant="acme", rule_set=TO_CLAUDE))
        without_key = rule_set(rule("code", "grok-4", operation="code"))
        for rules, reason in (
            (
                rule_set(rule("a", "gpt-4o", model="eco", operation="x"), rule("a", "gpt-4o", operation="y")),
                "both called a",
            ),
            (rule_set(rule("a", "gpt-4oo", operation="x")), "names gpt-4oo, which is no model .* did you mean gpt-4o"),
            (without_key, "would be refused"),
            (rule_set(rule("a", "gpt-4o", tenant="acme")), "for the platform's rules only"),
        ):
            with pytest.raises(Refused, match=f"nothing was published: .*{reason}"):
                await ask(RULES_PUBLISH, PublishRules(tenant="acme", rule_set=rules))
        saved = await ask(RULES_SAVE_DRAFT, SaveRuleDraft(tenant="acme", rule_set=without_key, revision=0))
        assert {finding.code for finding in saved.findings if finding.fault} == {FindingCode.NO_CALLABLE_MODEL}
        left = await ask(RULES_DISCARD_DRAFT, DiscardRuleDraft(tenant="acme", revision=1))
        assert (left.published, left.draft) == (1, None)
        run, _ = await routing.chat("gpt-4o", operation="code")
        assert run is not None
        assert run.provider == "anthropic"
        for subject, command, reason in (
            (RULES_DISCARD_DRAFT, DiscardRuleDraft(tenant="acme", revision=1), "has no draft"),
            (RULES_DRY_RUN, DryRunRules(tenant="acme"), "has no draft"),
            (RULES_PUBLISH, PublishRules(tenant="acme"), "has no draft"),
            (RULES_ROLL_BACK, RollBackRules(tenant="acme", version=9), "has no version 9"),
            (RULES_GET, GetRules(tenant="nobody"), "there is no tenant nobody"),
        ):
            with pytest.raises(Refused, match=reason):
                await ask(subject, command)


async def test_a_draft_is_published_only_as_it_was_read_and_over_what_it_was_begun_from(servers: RouterServers) -> None:
    other = rule_set(rule("code", "gpt-4o", operation="code"))
    async with operating(servers) as (_, ask):
        first = (await ask(RULES_SAVE_DRAFT, SaveRuleDraft(tenant="acme", rule_set=TO_CLAUDE, revision=0))).draft
        await ask(RULES_DISCARD_DRAFT, DiscardRuleDraft(tenant="acme", revision=first.revision))
        second = (await ask(RULES_SAVE_DRAFT, SaveRuleDraft(tenant="acme", rule_set=other, revision=0))).draft
        for subject, command in (
            (RULES_SAVE_DRAFT, SaveRuleDraft(tenant="acme", rule_set=TO_CLAUDE, revision=first.revision)),
            (RULES_PUBLISH, PublishRules(tenant="acme", revision=first.revision)),
            (RULES_DISCARD_DRAFT, DiscardRuleDraft(tenant="acme", revision=first.revision)),
        ):
            with pytest.raises(Refused, match=f"the draft is at revision {second.revision}"):
                await ask(subject, command)

        await ask(RULES_PUBLISH, PublishRules(tenant="acme", rule_set=TO_CLAUDE))
        with pytest.raises(Refused, match="begun when nothing was published, and now version 1 is published"):
            await ask(RULES_PUBLISH, PublishRules(tenant="acme", revision=second.revision))
        kept = await ask(RULES_GET, GetRules(tenant="acme"))
        assert (kept.published, kept.draft) == (1, second)
        known = PublishRules(tenant="acme", revision=second.revision, expected_version=1)
        assert (await ask(RULES_PUBLISH, known)).version.version == 2
