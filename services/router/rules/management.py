"""The router's handlers for routing rules: drafts, comparison, dry runs, publishing and versions."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain

from nats.errors import Error as NatsError

from keyferry.contracts.routing_management import (
    RULES_COMPARE,
    RULES_DISCARD_DRAFT,
    RULES_DRY_RUN,
    RULES_GET,
    RULES_PUBLISH,
    RULES_ROLL_BACK,
    RULES_SAVE_DRAFT,
    RULES_VERSIONS,
)
from keyferry.contracts.rule_checks import check_rule_set, is_fault
from keyferry.contracts.rule_management import (
    MAX_DRY_RUN,
    CompareRules,
    DiscardRuleDraft,
    DryRunReport,
    DryRunRules,
    GetRules,
    ListRuleVersions,
    PublishedRules,
    PublishRules,
    RollBackRules,
    RoutingRules,
    RuleDifference,
    RuleDraft,
    RuleSetVersion,
    RuleVersions,
    SavedRuleDraft,
    SaveRuleDraft,
)
from keyferry.contracts.rules import FindingCode, RuleFinding, RuleSet
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from services.router.outage import refuse_outages
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.rules.applying import names_of
from services.router.rules.checks import (
    CheckContext,
    check_embeddings,
    check_facts,
    check_past,
    check_preferred,
    check_tier,
    describe_pause,
)
from services.router.rules.difference import compare, text_difference
from services.router.rules.dry_run import Cost, Replanned, costs_of, report
from services.router.rules.matching import CompiledRules, RuleIndex
from services.router.rules.past_requests import (
    AskService,
    PastRequests,
    fetch_past_requests,
    in_slices,
    replan_all,
    without_health,
)
from services.router.rules.store import NewVersion, RulesChanged, RuleStore
from services.router.unreadable import require_tenant

PERIOD = timedelta(days=7)
"""How far back past requests are looked at, unless the request says otherwise."""
_MOST_FAULTS = 8
"""Most faults in one refusal; comparing lists them all."""
_MOST_FINDINGS = 200
_NOTHING = RuleSet(rules=[])


@dataclass(frozen=True, slots=True)
class RulesEnvironment:
    """What the handlers need of the router."""

    store: RuleStore
    index: RuleIndex
    context_of: Callable[[str], RoutingContext]
    tenants: Callable[[], Collection[str]]
    ask: AskService
    cost: Cost
    clock: Callable[[], datetime]


class RuleHandlers:
    """Handlers of one process. All raise Refused."""

    def __init__(self, environment: RulesEnvironment) -> None:
        self._store = environment.store
        self._index = environment.index
        self._context_of = environment.context_of
        self._tenants = environment.tenants
        self._ask = environment.ask
        self._cost = environment.cost
        self._clock = environment.clock

    def register(self, bus: Bus) -> None:
        """Subscribe to management requests. Call before the bus is started."""
        bus.respond(RULES_GET, self.get)
        bus.respond(RULES_SAVE_DRAFT, self.save_draft)
        bus.respond(RULES_DISCARD_DRAFT, self.discard_draft)
        bus.respond(RULES_COMPARE, self.compare)
        bus.respond(RULES_DRY_RUN, self.dry_run)
        bus.respond(RULES_PUBLISH, self.publish)
        bus.respond(RULES_ROLL_BACK, self.roll_back)
        bus.respond(RULES_VERSIONS, self.versions)

    async def get(self, command: GetRules) -> RoutingRules:
        """Return a version and the draft."""
        self._require_tenant(command.tenant)
        with refuse_outages("so it cannot return them: try again in a moment", contents="routing rules"):
            published = await self._store.published(command.tenant)
            draft = await self._store.draft(command.tenant)
        version = published if command.version is None else await self._version(command.tenant, command.version)
        return RoutingRules(
            tenant=command.tenant,
            published=_number(published),
            version=version,
            draft=draft,
            not_applied=None if published is None else describe_pause(command.tenant, self._context_of(command.tenant)),
        )

    async def save_draft(self, command: SaveRuleDraft) -> SavedRuleDraft:
        """Save the draft, and return what is wrong with it."""
        self._require_tenant(command.tenant)
        draft = RuleDraft(
            tenant=command.tenant,
            revision=1,
            rule_set=command.rule_set,
            actor=command.actor,
            saved_at=self._clock(),
        )
        findings = await asyncio.to_thread(check_rule_set, command.rule_set, command.tenant)
        if any(finding.code is FindingCode.TOO_LARGE for finding in findings):
            raise Refused(ErrorCode.INVALID, _describe(findings))
        with _refuse_changes():
            saved = await self._store.save_draft(draft, command.revision)
        return SavedRuleDraft(draft=saved, findings=await self._find(command.tenant, command.rule_set, None))

    async def discard_draft(self, command: DiscardRuleDraft) -> RoutingRules:
        """Remove the draft; return what is published."""
        self._require_tenant(command.tenant)
        with _refuse_changes():
            removed = await self._store.discard_draft(command.tenant, command.revision, command.actor)
        if not removed:
            raise Refused(ErrorCode.NOT_FOUND, f"the tenant {command.tenant} has no draft of routing rules")
        return await self.get(GetRules(tenant=command.tenant))

    async def compare(self, command: CompareRules) -> RuleDifference:
        """Return the difference, and what is wrong with the new rules."""
        self._require_tenant(command.tenant)
        rules = await self._given_or_draft(command.tenant, command.rule_set)
        with refuse_outages("so it cannot compare them: try again in a moment", contents="routing rules"):
            published = await self._store.published(command.tenant)
        base = published if command.version is None else await self._version(command.tenant, command.version)
        before = _NOTHING if base is None else base.rule_set
        name = "nothing published" if base is None else f"version {base.version}"
        return RuleDifference(
            tenant=command.tenant,
            version=_number(base),
            changes=await asyncio.to_thread(compare, before, rules),
            text=await asyncio.to_thread(text_difference, before, rules, (name, "new rules")),
            findings=await self._find(command.tenant, rules, None),
        )

    async def dry_run(self, command: DryRunRules) -> DryRunReport:
        """Plan past requests again, and report what would be different."""
        self._require_tenant(command.tenant)
        rules = await self._given_or_draft(command.tenant, command.rule_set)
        findings = await asyncio.to_thread(check_rule_set, rules, command.tenant)
        if is_fault(findings):
            raise Refused(ErrorCode.INVALID, f"these rules cannot be tried: {_describe(findings)}")
        now = self._clock()
        since = command.since or (command.until or now) - PERIOD
        if command.until is not None and command.until <= since:
            raise Refused(
                ErrorCode.INVALID, "`until` must be later than `since`: the first is excluded, the second not"
            )
        try:
            past = await fetch_past_requests(self._ask, command.tenant, since, command.until, command.limit)
        except (Refused, BusError, NatsError) as error:
            message = f"the usage ledger cannot list past requests now ({_reason(error)}): try again in a moment"
            raise Refused(ErrorCode.UNAVAILABLE, message) from None
        draft = await self._compile(command.tenant, rules)
        results = await self._replan(past, draft)
        made = report(
            results,
            await in_slices(costs_of(result, self._cost) for result in results),
            rules,
            tenant=command.tenant,
            published=_number(self._index.published(command.tenant)),
            more=past.more,
        )
        findings = await self._find(command.tenant, rules, past, results)
        return made.model_copy(update={"findings": findings})

    async def publish(self, command: PublishRules) -> PublishedRules:
        """Publish rules without faults."""
        self._require_tenant(command.tenant)
        revision = command.revision
        if command.rule_set is not None:
            rules = command.rule_set
            if revision is not None:
                raise Refused(ErrorCode.INVALID, "a revision is one of the draft: leave it out, or leave out the rules")
        else:
            draft = await self._draft(command.tenant)
            rules = draft.rule_set
            if revision is not None and revision != draft.revision:
                raise Refused(ErrorCode.CONFLICT, _other_revision(draft))
            revision = draft.revision
        new = NewVersion(
            command.tenant,
            rules,
            command.note,
            command.actor,
            self._clock(),
            expected_version=command.expected_version,
            draft_revision=revision,
        )
        return await self._publish(new)

    async def roll_back(self, command: RollBackRules) -> PublishedRules:
        """Publish an earlier version again."""
        self._require_tenant(command.tenant)
        version = await self._version(command.tenant, command.version)
        new = NewVersion(
            command.tenant,
            version.rule_set,
            command.note,
            command.actor,
            self._clock(),
            restored_from=version.version,
            expected_version=command.expected_version,
        )
        return await self._publish(new)

    async def versions(self, command: ListRuleVersions) -> RuleVersions:
        """Return a page of versions, newest first."""
        self._require_tenant(command.tenant)
        with refuse_outages("so it cannot list them: try again in a moment", contents="routing rules"):
            published = await self._store.published(command.tenant)
            found = await self._store.versions(command)
        return RuleVersions(published=_number(published), versions=found)

    async def _publish(self, new: NewVersion) -> PublishedRules:
        findings = await self._check(new.tenant, new.rule_set)
        if is_fault(findings):
            raise Refused(ErrorCode.INVALID, f"nothing was published: {_describe(findings)}")
        with _refuse_changes():
            version, changed = await self._store.publish(new)
        return PublishedRules(version=version, changed=changed, findings=findings)

    async def _check(self, tenant: str, rules: RuleSet) -> list[RuleFinding]:
        """Return everything that can be found, with past requests if the ledger has them."""
        try:
            past = await fetch_past_requests(self._ask, tenant, self._clock() - PERIOD, None, MAX_DRY_RUN)
        except (Refused, BusError, NatsError) as error:
            detail = f"past requests were not planned again, because the usage ledger does not list them now: {_reason(error)}"
            missing = RuleFinding(code=FindingCode.NOT_CHECKED, fault=False, detail=detail)
            return [*await self._find(tenant, rules, None), missing]
        return await self._find(tenant, rules, past)

    async def _find(
        self,
        tenant: str,
        rules: RuleSet,
        past: PastRequests | None,
        results: Sequence[Replanned] | None = None,
    ) -> list[RuleFinding]:
        """Return what is wrong with rules, as far as it shows without past requests that are not given.

        `results` are those requests planned again, if that has been done already.
        """
        findings = await asyncio.to_thread(check_rule_set, rules, tenant, _aliases(rules, self._context_of(tenant)))
        if is_fault(findings):
            return findings
        draft = await self._compile(tenant, rules)
        facts = self._check_context(tenant, draft, past)
        steps = await in_slices(chain(check_tier(facts), check_facts(rules, facts), check_preferred(facts)))
        findings += [step for step in steps if step is not None]
        if past is not None:
            replanned = results if results is not None else await self._replan(past, draft)
            findings += chain(check_past(replanned), check_embeddings(replanned))
            if past.more:
                detail = (
                    f"only the newest {len(past.decisions)} past requests were planned again: an operation that only older ones"
                    " name was not checked"
                )
                findings.append(RuleFinding(code=FindingCode.NOT_CHECKED, fault=False, detail=detail))
            if not past.tokens_known:
                detail = "past requests were planned without the limits of all client tokens, which cannot be read now"
                findings.append(RuleFinding(code=FindingCode.NOT_CHECKED, fault=False, detail=detail))
        return sorted(findings, key=lambda finding: not finding.fault)[:_MOST_FINDINGS]

    async def _replan(self, past: PastRequests, draft: CompiledRules) -> list[Replanned]:
        rules_of = partial(self._index.with_draft, draft=draft)
        return await in_slices(replan_all(past, self._context_of, rules_of))

    def _check_context(self, tenant: str, draft: CompiledRules, past: PastRequests | None) -> CheckContext:
        context = without_health(self._context_of(tenant))
        operations = None if past is None else _operations(tenant, context, past)
        return CheckContext(tenant, context, self._tenants(), operations, self._index.with_draft(tenant, draft))

    async def _compile(self, tenant: str, rules: RuleSet) -> CompiledRules:
        """Compile rules as if they were the next version."""
        number = _number(self._index.published(tenant)) + 1
        return CompiledRules(
            RuleSetVersion(tenant=tenant, version=number, rule_set=rules, actor="operator", published_at=self._clock())
        )

    def _require_tenant(self, tenant: str) -> None:
        if tenant != PLATFORM_TENANT:
            require_tenant(tenant, self._context_of(tenant))

    async def _given_or_draft(self, tenant: str, given: RuleSet | None) -> RuleSet:
        return given if given is not None else (await self._draft(tenant)).rule_set

    async def _draft(self, tenant: str) -> RuleDraft:
        with refuse_outages("so it cannot read the draft: try again in a moment", contents="routing rules"):
            draft = await self._store.draft(tenant)
        if draft is None:
            raise Refused(ErrorCode.NOT_FOUND, f"the tenant {tenant} has no draft of routing rules: give the rules")
        return draft

    async def _version(self, tenant: str, number: int) -> RuleSetVersion:
        with refuse_outages("so it cannot read the version: try again in a moment", contents="routing rules"):
            version = await self._store.version(tenant, number)
        if version is None:
            raise Refused(
                ErrorCode.NOT_FOUND,
                f"the tenant {tenant} has no version {number} of its routing rules;"
                f" `keyferry route versions --tenant {tenant}` lists them",
            )
        return version


def _aliases(rules: RuleSet, context: RoutingContext) -> dict[str, str]:
    """Return the names in conditions that are aliases of models of the catalog, with the models' ids."""
    named = {name for rule in rules.rules for name in rule.when.model or ()}
    return {alias: others[0] for name in named for alias, *others in [names_of(name, context)] if others}


def _operations(tenant: str, context: RoutingContext, past: PastRequests) -> set[str]:
    preferences = context.preferences(RouteRequest(tenant, ""))
    return {
        *(operation for model in context.catalog for operation in model.recommended),
        *preferences.model_by_operation,
        *preferences.mode_by_operation,
        *(each.operation for each in past.decisions if each.operation is not None),
    }


def _number(version: RuleSetVersion | None) -> int:
    return 0 if version is None else version.version


def _other_revision(draft: RuleDraft) -> str:
    return f"the draft is at revision {draft.revision}, saved by {draft.actor}: read it before you publish it"


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, Refused | BusError) else type(error).__name__


def _describe(findings: Sequence[RuleFinding]) -> str:
    faults = [finding for finding in findings if finding.fault]
    shown = "; ".join(
        f"rule {finding.rule}: {finding.detail}" if finding.rule else finding.detail
        for finding in faults[:_MOST_FAULTS]
    )
    return shown + (f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else "")


@contextmanager
def _refuse_changes() -> Iterator[None]:
    """Refuse a change that another one was faster than, or that the database cannot make now."""
    try:
        with refuse_outages(
            "so it is unknown whether the change was made: look at the versions before you try again",
            contents="routing rules",
        ):
            yield
    except RulesChanged as error:
        raise Refused(ErrorCode.CONFLICT, str(error)) from None
