"""Handlers of recommendations: what would have made a tenant's traffic cheaper, and the rule that makes a change."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain

from nats.errors import Error as NatsError

from keyferry.contracts.features import LEVEL_MODELS
from keyferry.contracts.ledger_management import ANALYTICS_SERIES
from keyferry.contracts.recommendation_management import RECOMMENDATION_DRAFT, RECOMMENDATION_LIST
from keyferry.contracts.recommendations import (
    MAX_RECOMMENDATIONS,
    DraftRecommendedRule,
    ListRecommendations,
    Recommendation,
    Recommendations,
)
from keyferry.contracts.rule_management import GetRules, RoutingRules, SavedRuleDraft, SaveRuleDraft
from keyferry.contracts.rules import RuleSet
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tiers import Feature
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from services.router.planning.context import RoutingContext
from services.router.power.comparison import LevelPlanner, own_p95_of
from services.router.power.estimates import EstimateRates
from services.router.power.past_traffic import SPANS, spans_of, token_of, traffic_of, traffic_question
from services.router.power.preview_limit import PreviewLimit
from services.router.power.quality import QualityTable
from services.router.recommendations.cheaper_models import ModelSearch, find_cheaper_models
from services.router.recommendations.key_sources import recommend_own_keys, recommend_platform_keys
from services.router.recommendations.prompt_caching import has_conversations, recommend_caching
from services.router.recommendations.recommended_rule import RuleSetFull, put_first
from services.router.recommendations.replayed import ReplayedRequest, replay_all, total_spend
from services.router.recommendations.residency_reminder import remind_of_residency
from services.router.rules.past_requests import AskService, PastRequests, fetch_samples, in_slices, without_health
from services.router.unreadable import require_tenant

SAMPLE = 600
"""Requests that are planned again."""
_ASK_SECONDS = 20.0
_DAY = timedelta(days=1)
_VIRTUAL = (
    "Requests that name a power level or `auto` were left out of the search for cheaper models: the page Power level compares"
    " what each level would cost them."
)
_NO_CONVERSATIONS = (
    "Prompt caching could not be looked at, because no request names its conversation: send X-Conversation-Id with those that"
    " belong together."
)
_NOT_RECORDED = "There are no completed requests in these days that could be planned and priced again."


@dataclass(frozen=True, slots=True)
class RecommendationEnvironment:
    """What the handlers need of the router. `rules_of` and `save_draft` are those of the routing rules."""

    context_of: Callable[[str], RoutingContext]
    rates_of: Callable[[], EstimateRates]
    quality: QualityTable
    ask: AskService
    clock: Callable[[], datetime]
    rules_of: Callable[[GetRules], Awaitable[RoutingRules]]
    save_draft: Callable[[SaveRuleDraft], Awaitable[SavedRuleDraft]]


class RecommendationHandlers:
    """Handlers of one process. All raise Refused."""

    def __init__(self, environment: RecommendationEnvironment) -> None:
        self._environment = environment
        self._limit = PreviewLimit()
        self._turn = asyncio.Lock()

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.respond(RECOMMENDATION_LIST, self.recommend)
        bus.respond(RECOMMENDATION_DRAFT, self.draft)

    async def recommend(self, command: ListRecommendations) -> Recommendations:
        """Return what would have made a tenant's traffic of the last days cheaper, the greatest amount first."""
        context = self._environment.context_of(command.tenant)
        require_tenant(command.tenant, context)
        _require_feature(context)
        with self._limit.hold(command.tenant):
            return await self._recommend(command, without_health(context))

    async def draft(self, command: DraftRecommendedRule) -> SavedRuleDraft:
        """Put a rule before the others of the draft. Repeating it changes nothing more."""
        environment = self._environment
        context = environment.context_of(command.tenant)
        require_tenant(command.tenant, context)
        _require_feature(context)
        rules = await environment.rules_of(GetRules(tenant=command.tenant))
        base = rules.draft or rules.version
        try:
            rule_set = put_first(RuleSet(rules=[]) if base is None else base.rule_set, command.rule)
        except RuleSetFull as error:
            raise Refused(ErrorCode.INVALID, str(error)) from None
        return await environment.save_draft(
            SaveRuleDraft(
                tenant=command.tenant,
                actor=command.actor,
                rule_set=rule_set,
                revision=0 if rules.draft is None else rules.draft.revision,
            )
        )

    async def _recommend(self, command: ListRecommendations, context: RoutingContext) -> Recommendations:
        environment = self._environment
        now = environment.clock().astimezone(UTC)
        since = now - command.days * _DAY
        try:
            series, sample = await asyncio.gather(
                environment.ask(
                    ANALYTICS_SERIES, traffic_question(command.tenant, since, now), timeout_seconds=_ASK_SECONDS
                ),
                fetch_samples(environment.ask, command.tenant, spans_of(since, now), SAMPLE // SPANS),
            )
        except (Refused, BusError, NatsError) as error:
            message = f"the usage ledger does not answer now, so past requests cannot be looked at: {error}"
            raise Refused(ErrorCode.UNAVAILABLE, message) from None
        traffic = traffic_of(series, since, now)
        rates = environment.rates_of()
        past = [each for each in sample.decisions if not each.refused and each.attempts]
        planner = LevelPlanner(context, rates, environment.quality, own_p95_of(past))
        steps = replay_all(past, traffic, planner, context, lambda each: sample.allowed_models.get(token_of(each)))
        replayed = [each for each in await in_slices(steps, self._turn) if each is not None]
        found = [each for each in await in_slices(self._search(replayed, planner, rates, context), self._turn) if each]
        found.sort(key=lambda each: (-each.saved_micro_usd, each.recommendation_id))
        return Recommendations(
            tenant=command.tenant,
            since=since,
            until=now,
            requests=sum(traffic.requests.values()),
            sampled=len(replayed),
            spend_micro_usd=total_spend(replayed),
            recommendations=found[:MAX_RECOMMENDATIONS],
            notes=list(_notes(sample, replayed)),
        )

    def _search(
        self,
        replayed: list[ReplayedRequest],
        planner: LevelPlanner,
        rates: EstimateRates,
        context: RoutingContext,
    ) -> Iterator[Recommendation | None]:
        # A candidate is planned as if no rule sent it elsewhere: the recommended rule comes before all of them.
        search = ModelSearch(replace(context, rules=None), planner, rates, self._environment.quality)
        return chain(
            find_cheaper_models(replayed, search),
            recommend_own_keys(replayed, rates.billing, context),
            recommend_platform_keys(replayed, planner, context),
            recommend_caching(replayed, rates, context),
            remind_of_residency(replayed, planner, context),
        )


def _require_feature(context: RoutingContext) -> None:
    """Raise Refused if the tenant's tier does not include recommendations."""
    tenant, tiers = context.tenant, context.tiers
    if tenant is not None and tiers is not None:
        missing = tiers.missing(tenant, Feature.RECOMMENDATIONS, "recommendations")
        if missing is not None:
            raise Refused(ErrorCode.CONFLICT, missing)


def _notes(sample: PastRequests, replayed: list[ReplayedRequest]) -> Iterator[str]:
    if not replayed:
        yield _NOT_RECORDED
        return
    if any(each.past.model_asked in LEVEL_MODELS for each in replayed):
        yield _VIRTUAL
    if not has_conversations(replayed):
        yield _NO_CONVERSATIONS
    if not sample.tokens_known:
        yield "The limits of client tokens cannot be read now: a recommended model may not be allowed to some of them."
