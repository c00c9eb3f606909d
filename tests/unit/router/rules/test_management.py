"""The handlers of routing rules while something that they need is away, and the paging of past requests."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from keyferry.contracts.past_decisions import ListDecisions, PastDecision, PastDecisions
from keyferry.contracts.routing_management import DECISION_LIST
from keyferry.contracts.rule_management import (
    MAX_DRY_RUN,
    CompareRules,
    DiscardRuleDraft,
    DryRunRules,
    GetRules,
    ListRuleVersions,
    PublishRules,
    RollBackRules,
    RuleSetVersion,
    SaveRuleDraft,
)
from keyferry.contracts.rules import FindingCode
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import ClientToken, ClientTokens, Tenant, Tier
from keyferry.contracts.topology import TOKEN_LIST
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.router.planning.context import RoutingContext
from services.router.rules.management import PERIOD, RuleHandlers, RulesEnvironment
from services.router.rules.matching import RuleIndex
from services.router.rules.past_requests import fetch_past_requests, in_slices
from services.router.rules.store import NewVersion, RulesChanged, RuleStore
from tests.support.router.catalog_edits import Operator
from tests.support.router.keys_and_prices import catalog, key_facts
from tests.support.router.limits import TIERS
from tests.support.router.retired import context_with
from tests.support.router.rule_sets import PUBLISHED_AT, routing_context, rule, rule_set
from tests.support.router.rule_sets import published as published_version

NOW = datetime(2026, 11, 29, tzinfo=UTC)
RULES = rule_set(rule("r", "gpt-4o", operation="x"))


class Store:
    """A store whose database is away, or that takes one version."""

    def __init__(self, *, available: bool = True, conflict: bool = False) -> None:
        self.available = available
        self.conflict = conflict

    def __getattr__(self, name: str) -> Any:
        async def unavailable(*_: object) -> object:
            if not self.available:
                raise DatabaseUnavailable
            return None

        return unavailable

    async def publish(self, new: NewVersion) -> tuple[RuleSetVersion, bool]:
        if not self.available:
            raise DatabaseUnavailable
        if self.conflict:
            raise RulesChanged("version 9 is published, by somebody")
        version = RuleSetVersion(
            tenant=new.tenant, version=1, rule_set=new.rule_set, actor=new.actor, published_at=new.published_at
        )
        return version, True


async def nobody(subject: Any, question: Any, *, timeout_seconds: float) -> Any:
    raise BusError(f"nobody answers {subject.name}")


def past(number: int, token: str | None = None) -> PastDecision:
    return PastDecision(
        decision_id=f"dec_{number}",
        request_id=f"req_{number}",
        tenant="acme",
        decided_at=PUBLISHED_AT,
        model_asked="gpt-4o",
        client_token_id=token,
    )


def handlers(store: Store, ask: Callable[..., Any] = nobody, context: RoutingContext | None = None) -> RuleHandlers:
    return RuleHandlers(
        RulesEnvironment(
            store=cast(RuleStore, store),
            index=RuleIndex(),
            context_of=lambda tenant: context or routing_context(),
            tenants=lambda: {"acme"},
            ask=cast(Any, ask),
            cost=lambda provider, model, tokens: None,
            clock=lambda: NOW,
        )
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda made: made.get(GetRules(tenant="acme")),
        lambda made: made.save_draft(SaveRuleDraft(tenant="acme", rule_set=RULES, revision=0)),
        lambda made: made.discard_draft(DiscardRuleDraft(tenant="acme")),
        lambda made: made.compare(CompareRules(tenant="acme", rule_set=RULES)),
        lambda made: made.dry_run(DryRunRules(tenant="acme")),
        lambda made: made.publish(PublishRules(tenant="acme")),
        lambda made: made.publish(PublishRules(tenant="acme", rule_set=RULES)),
        lambda made: made.roll_back(RollBackRules(tenant="acme", version=1)),
        lambda made: made.versions(ListRuleVersions(tenant="acme")),
    ],
)
async def test_without_the_database_everything_is_refused(call: Callable[[RuleHandlers], Any]) -> None:
    with pytest.raises(Refused) as refused:
        await call(handlers(Store(available=False)))
    assert refused.value.refusal.code is ErrorCode.UNAVAILABLE
    assert "`keyferry doctor` shows the cause" in str(refused.value)


@pytest.mark.parametrize(("tier", "applied"), [(Tier.STARTER, False), (Tier.PROFESSIONAL, True)])
async def test_rules_that_a_downgrade_has_paused_are_shown_as_such(tier: Tier, applied: bool) -> None:
    class OneVersion(Store):
        async def published(self, tenant: str) -> RuleSetVersion:
            return published_version(RULES, tenant)

    tenant = Tenant(tenant="acme", name="Acme", tier=tier)
    context = replace(routing_context(), tenant=tenant, tiers=TIERS)
    found = await handlers(OneVersion(), context=context).get(GetRules(tenant="acme"))
    assert found.version is not None
    assert found.not_applied == (
        None
        if applied
        else "the use of routing rules of one's own is not included in the tier starter: upgrade to professional (`keyferry"
        " tenants update acme --tier professional`); until then they are kept and do not count"
    )
    nothing = await handlers(Store(), context=context).get(GetRules(tenant="acme"))
    assert nothing.not_applied is None


async def test_without_the_ledger_rules_are_published_with_a_warning() -> None:
    published = await handlers(Store()).publish(PublishRules(tenant="acme", rule_set=RULES))
    assert published.changed
    (warning,) = published.findings
    assert (warning.code, warning.fault) == (FindingCode.NOT_CHECKED, False)
    assert "nobody answers decision.list" in warning.detail


async def test_without_the_ledger_there_is_no_dry_run() -> None:
    with pytest.raises(Refused, match="cannot list past requests now") as refused:
        await handlers(Store()).dry_run(DryRunRules(tenant="acme", rule_set=RULES))
    assert refused.value.refusal.code is ErrorCode.UNAVAILABLE


async def test_a_publisher_who_was_slower_is_refused() -> None:
    with pytest.raises(Refused, match="version 9 is published") as refused:
        await handlers(Store(conflict=True)).publish(PublishRules(tenant="acme", rule_set=RULES))
    assert refused.value.refusal.code is ErrorCode.CONFLICT


async def test_a_version_whose_models_are_retired_is_not_restored() -> None:
    operator = Operator()
    operator.retire("second", "third")

    class OfBefore(Store):
        async def version(self, tenant: str, version: int) -> RuleSetVersion:
            return published_version(rule_set(rule("r", "second", operation="x")), tenant, version)

    made = handlers(OfBefore(), context=context_with(operator.editor.catalog, key_facts("openai")))
    with pytest.raises(Refused, match=r"nothing was published: rule r: .*has retired the model second: use third"):
        await made.roll_back(RollBackRules(tenant="acme", version=1))


async def test_a_rule_for_an_alias_behind_one_for_its_model_matches_nothing() -> None:
    alias, model = next((model.aliases[0], model.id) for model in catalog() if model.aliases)
    by_id, by_alias = rule("by-id", "gpt-4o", model=model), rule("by-alias", "gpt-4o", model=alias)
    with pytest.raises(Refused, match="nothing was published: rule by-alias: it matches nothing: by-id, before it"):
        await handlers(Store()).publish(PublishRules(tenant="acme", rule_set=rule_set(by_id, by_alias)))
    published = await handlers(Store()).publish(PublishRules(tenant="acme", rule_set=rule_set(by_alias, by_id)))
    assert published.changed, "requests for the id are left to the second"


async def test_a_revision_is_not_ignored_beside_rules() -> None:
    with pytest.raises(Refused, match="a revision is one of the draft") as refused:
        await handlers(Store()).publish(PublishRules(tenant="acme", rule_set=RULES, revision=3))
    assert refused.value.refusal.code is ErrorCode.INVALID


async def test_past_requests_that_were_not_looked_at_are_reported() -> None:
    many = [past(number) for number in range(MAX_DRY_RUN)]

    async def ask(subject: Any, question: ListDecisions, *, timeout_seconds: float) -> PastDecisions:
        begin = 0 if question.after is None else int(question.after)
        return PastDecisions(decisions=many[begin : begin + question.limit], next=str(begin + question.limit))

    published = await handlers(Store(), ask).publish(PublishRules(tenant="acme", rule_set=RULES))
    (warning,) = [each for each in published.findings if each.code is FindingCode.NOT_CHECKED]
    assert warning.detail.startswith("only the newest 1000 past requests were planned again")
    assert not warning.fault


async def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    command = DryRunRules(tenant="acme", rule_set=RULES, since=NOW, until=NOW - timedelta(days=1))
    with pytest.raises(Refused, match="`until` must be later than `since`"):
        await handlers(Store()).dry_run(command)
    faulty = rule_set(rule("all", "gpt-4o"))
    with pytest.raises(Refused, match="these rules cannot be tried: rule all: it has no condition"):
        await handlers(Store()).dry_run(DryRunRules(tenant="acme", rule_set=faulty))


class Records:
    """A ledger with two pages, and a directory with the limits of one token."""

    def __init__(self, *, directory: bool = True) -> None:
        self.asked: list[ListDecisions] = []
        self._directory = directory

    async def ask(self, subject: Any, question: Any, *, timeout_seconds: float) -> Any:
        if subject is TOKEN_LIST and self._directory:
            token = ClientToken(
                token_id="tok_1", tenant="acme", label="a", last4="abcd", allowed_models=["gpt-4o"], created_at=NOW
            )
            return ClientTokens(tokens=[token])
        if subject is not DECISION_LIST:
            raise BusError("nobody answers")
        self.asked.append(question)
        if question.after is None:
            return PastDecisions(decisions=[past(1, "tok_1"), past(2)], next="dec_2")
        return PastDecisions(decisions=[past(3)], next=None)


async def test_past_requests_are_read_page_by_page() -> None:
    records = Records()
    found = await fetch_past_requests(cast(Any, records.ask), "acme", NOW - PERIOD, None, 1000)
    assert [each.request_id for each in found.decisions] == ["req_1", "req_2", "req_3"]
    assert [(each.tenant, each.after, each.limit) for each in records.asked] == [
        ("acme", None, 200),
        ("acme", "dec_2", 200),
    ]
    assert (found.more, found.tokens_known, found.allowed_models) == (False, True, {("acme", "tok_1"): ["gpt-4o"]})
    first = await fetch_past_requests(cast(Any, records.ask), "platform", NOW, None, 2)
    assert (len(first.decisions), first.more, records.asked[-1].tenant, records.asked[-1].limit) == (2, True, None, 2)


async def test_limits_of_tokens_that_cannot_be_read_are_reported() -> None:
    report = await handlers(Store(), Records(directory=False).ask).dry_run(DryRunRules(tenant="acme", rule_set=RULES))
    assert report.requests == 3
    assert FindingCode.NOT_CHECKED in {finding.code for finding in report.findings}
    known = await handlers(Store(), Records().ask).dry_run(DryRunRules(tenant="acme", rule_set=RULES))
    assert FindingCode.NOT_CHECKED not in {finding.code for finding in known.findings}


async def test_an_iterator_is_run_to_its_end() -> None:
    assert await in_slices(iter(range(2000))) == list(range(2000))
