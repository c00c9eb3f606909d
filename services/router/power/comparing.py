"""Handlers of previews: traffic at each power level, a request's route, and preferences before they are saved."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from nats.errors import Error as NatsError

from keyferry.contracts import ids
from keyferry.contracts.chat import ChatRequest, EmbeddingRequest
from keyferry.contracts.features import DEFAULT_POWER_LEVEL, PowerLevel
from keyferry.contracts.ledger_management import ANALYTICS_SERIES
from keyferry.contracts.power_comparison import (
    DAYS_OF_MONTH,
    ComparePowerLevels,
    PowerLevelComparison,
)
from keyferry.contracts.preference_preview import PreferencesPreview, PreviewPreferences
from keyferry.contracts.preferences import PreferenceScope
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.route_preview import ExplainRoute
from keyferry.contracts.routing_management import POWER_LEVEL_COMPARE, PREFERENCES_PREVIEW, ROUTE_EXPLAIN
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.usage import RequestKind
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from services.router.decide import FreshIds, decide, record
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.power.comparison import (
    LevelPlanner,
    compare_levels,
    describe_operations,
    own_p95_of,
    plan_all,
)
from services.router.power.estimates import EstimateRates
from services.router.power.past_traffic import SPANS, spans_of, token_of, traffic_of, traffic_question
from services.router.power.preview_limit import PreviewLimit
from services.router.power.quality import QualityTable
from services.router.preferences.preview import Layers, callable_of, changed_context, lost_models, replan_each
from services.router.preferences.preview import describe_operations as preview_operations
from services.router.rules.past_requests import AskService, PastRequests, fetch_samples, in_slices, without_health
from services.router.unreadable import require_tenant

SAMPLE = 300
"""Requests that are planned again, at each of the levels."""
_ASK_SECONDS = 20.0
_DAY = timedelta(days=1)
_PREVIEWED_MS = 60_000


@dataclass(frozen=True, slots=True)
class ComparisonEnvironment:
    """What the handlers need of the router."""

    context_of: Callable[[str], RoutingContext]
    layers_of: Layers
    rates_of: Callable[[], EstimateRates]
    quality: QualityTable
    ask: AskService
    clock: Callable[[], datetime]
    router: str


class ComparisonHandlers:
    """Handlers of one process. All raise Refused."""

    def __init__(self, environment: ComparisonEnvironment) -> None:
        self._environment = environment
        self._limit = PreviewLimit()
        self._turn = asyncio.Lock()

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.respond(POWER_LEVEL_COMPARE, self.compare)
        bus.respond(ROUTE_EXPLAIN, self.explain)
        bus.respond(PREFERENCES_PREVIEW, self.preview)

    async def explain(self, command: ExplainRoute) -> DecisionRecord:
        """Return the decision about a request as of now. Nothing is sent, held or recorded."""
        context = self._environment.context_of(command.tenant)
        require_tenant(command.tenant, context)
        context = _without_probes(context)
        request, now = _request_of(command), self._environment.clock()
        fresh = FreshIds(ids.new(ids.DECISION), ids.new(ids.ATTEMPT))
        decision = decide(request, context, fresh, traceparent=None)
        made = record(request, decision, fresh, router=self._environment.router, now=now, duration_us=0, trace="")
        return made.model_copy(update={"attempt_id": None, "traceparent": None})

    async def preview(self, command: PreviewPreferences) -> PreferencesPreview:
        """Return what preferences of a tenant's scope would change. Without the ledger past requests are left out."""
        with self._limit.hold(command.tenant):
            return await self._preview(command)

    async def _preview(self, command: PreviewPreferences) -> PreferencesPreview:
        environment = self._environment
        if command.scope is PreferenceScope.PLATFORM:
            raise Refused(ErrorCode.INVALID, "a preview is about the requests of one tenant: name one")
        context = environment.context_of(command.tenant)
        require_tenant(command.tenant, context)
        before = without_health(context)
        after = changed_context(before, command, environment.layers_of)
        now = environment.clock().astimezone(UTC)
        spans = spans_of(now - command.days * _DAY, now)
        try:
            sample = await fetch_samples(environment.ask, command.tenant, spans, SAMPLE // SPANS)
        except (Refused, BusError, NatsError):
            sample = PastRequests([], False, {}, tokens_known=False)
        found = await in_slices(
            replan_each(sample.decisions, before, after, lambda each: sample.allowed_models.get(token_of(each))),
            self._turn,
        )
        now_callable, then_callable = callable_of(before, command), callable_of(after, command)
        return PreferencesPreview(
            tenant=command.tenant,
            models_before=len(now_callable),
            models_after=len(then_callable),
            lost_models=lost_models(now_callable, then_callable),
            sampled=len(found),
            operations=preview_operations(found),
        )

    async def compare(self, command: ComparePowerLevels) -> PowerLevelComparison:
        """Return what each level would cost and bring for a tenant's traffic of the last days."""
        with self._limit.hold(command.tenant):
            return await self._compare(command)

    async def _compare(self, command: ComparePowerLevels) -> PowerLevelComparison:
        environment = self._environment
        context = environment.context_of(command.tenant)
        require_tenant(command.tenant, context)
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
            message = f"the usage ledger does not answer now, so past requests cannot be compared: {error}"
            raise Refused(ErrorCode.UNAVAILABLE, message) from None
        past = [each for each in sample.decisions if not each.refused and each.attempts]
        traffic = traffic_of(series, since, now)
        plain = without_health(context)
        rates = environment.rates_of()
        planner = LevelPlanner(plain, rates, environment.quality, own_p95_of(past))
        allowed_of = sample.allowed_models.get
        found = await in_slices(plan_all(past, planner, lambda each: allowed_of(token_of(each))), self._turn)
        saved = context.preferences(RouteRequest(command.tenant, "")).power_level
        current = saved or DEFAULT_POWER_LEVEL
        outcomes = {level: [each[level] for each in found] for level in PowerLevel}
        total = sum(traffic.requests.values())
        spent = [line.total.spend_micro_usd for line in series.lines]
        known = [amount for amount in spent if amount is not None]
        allowance = None if context.tenant is None else rates.billing.allowance(context.tenant.tier)
        month = DAYS_OF_MONTH / traffic.days_seen
        return PowerLevelComparison(
            tenant=command.tenant,
            current=current,
            since=since,
            until=now,
            days_seen=max(round(traffic.days_seen), 1),
            requests=total,
            requests_per_month=round(total * month),
            sampled=len(past),
            actual_spend_micro_usd=round(sum(known) * month) if known or not total else None,
            monthly_free_requests=0 if allowance is None else allowance.requests,
            operations=describe_operations(past, traffic),
            levels=compare_levels(past, outcomes, traffic, plain, current),
        )


def _without_probes(context: RoutingContext) -> RoutingContext:
    return replace(context, may_probe=lambda _: False)


def _request_of(command: ExplainRoute) -> ChatRequest | EmbeddingRequest:
    """Return the request that is asked about; its times only have to be in the future."""
    kind = ChatRequest if command.kind is RequestKind.CHAT else EmbeddingRequest
    return kind(
        request_id=ids.new(ids.REQUEST),
        tenant=command.tenant,
        client_token_id=command.client_token_id,
        model=command.model,
        stream=False,
        operation=command.operation,
        tags=command.tags,
        deadline_ms=_PREVIEWED_MS,
        start_by_unix_ms=0,
        allowed_models=command.allowed_models,
        team=command.team,
        member=command.member,
        power_level=command.power_level,
        features=command.features,
        prefer_own_keys=command.prefer_own_keys,
    )
