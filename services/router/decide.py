"""The decision about a request: the message that runs the next attempt or the refusal, and the decision record. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from keyferry.budgets.matching import model_names
from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun, BodyDefaults, ChatRequest, EmbeddingRequest, FailedAttempt, Reroute
from keyferry.contracts.credit import AllowanceUse, Reservation
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.fallback import mark_earlier_charge
from keyferry.contracts.features import DEFAULT_POWER_LEVEL, PowerLevel, RequestFeatures
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import Candidate, DecisionRecord, DecisionSummary, DropReason
from keyferry.contracts.tenancy import ContentPolicy
from keyferry.contracts.usage import RequestKind
from services.router.credit.affordable import NOTHING, AffordablePlan, AttemptNeeds, NeedsOf, find_affordable
from services.router.decision_summary import summarize_decision
from services.router.fallback.delays import first_answer_within_ms
from services.router.fallback.followers import may_follow_silence
from services.router.fallback.policy import policy_of
from services.router.fallback.recovery import TRY_LATER
from services.router.limits.admitted import Admitted
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.preferences.effective import EffectivePreferences


@dataclass(frozen=True, slots=True)
class FreshIds:
    """New ids for one decision."""

    decision_id: str
    attempt_id: str


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """The result of a decision. Exactly one of `run` and `refused` is set."""

    plan: Plan
    run: AttemptRun | None
    refused: frames.RequestRefused | None
    needs: AttemptNeeds = NOTHING
    """What the attempt may spend of accounts that can run out."""


Request = ChatRequest | EmbeddingRequest | Reroute

_OPENROUTER = "openrouter"
MAX_ATTEMPTS = 5
"""Most attempts per request: each takes time, and may cost money."""


def decide(
    request: Request,
    context: RoutingContext,
    fresh: FreshIds,
    *,
    traceparent: str | None,
    needs_of: NeedsOf | None = None,
) -> RoutingDecision:
    """Plan the request and create the message for the next attempt, or the refusal.

    `needs_of` computes what an attempt may spend; None if nothing that can run out applies to the request.
    """
    failed_attempts = request.failed_attempts if isinstance(request, Reroute) else []
    asked = _route_request(request)
    affordable = AffordablePlan(plan(asked, context))
    if needs_of is not None:
        affordable = find_affordable(affordable.plan, needs_of, charged_level(affordable.plan, request.power_level))
    planned, needs = affordable.plan, affordable.needs
    summary = (
        summarize_decision(asked, planned, failed_attempts, decision_id=fresh.decision_id) if request.explain else None
    )
    failure = _failure_of(request, planned, failed_attempts)
    if failure is not None:
        return RoutingDecision(planned, None, _refuse(request, fresh, failure, summary))
    run = _create_run(
        request,
        asked,
        planned,
        context,
        needs,
        decision=summary,
        traceparent=traceparent,
        attempt_id=fresh.attempt_id,
        decision_id=fresh.decision_id,
    )
    return RoutingDecision(planned, run, None, needs)


def _create_run(
    request: Request,
    asked: RouteRequest,
    planned: Plan,
    context: RoutingContext,
    needs: AttemptNeeds,
    **values: Any,
) -> AttemptRun:
    """Return the message that runs the attempt at the first of the plan; `values` are further fields of it."""
    failed_attempts = request.failed_attempts if isinstance(request, Reroute) else []
    index = planned.order[0]
    chosen = planned.candidates[index]
    endpoint, key = planned.endpoints.get(index), planned.keys.get(index)
    others = min(len(planned.order), MAX_ATTEMPTS - len(failed_attempts)) - 1
    policy = policy_of(asked, context)
    divided = others > 0 and may_follow_silence(planned, planned.order[1 : others + 1], failed_attempts, policy)
    return request.derive(
        AttemptRun,
        model=chosen.model,
        catalog_id=_catalog_id(context, chosen),
        model_asked=request.model,
        replaces=chosen.replaces,
        applied_level=planned.power_level or request.power_level,
        attempt_number=len(failed_attempts) + 1,
        provider=chosen.provider,
        endpoint=chosen.endpoint,
        base_url=endpoint.base_url if endpoint else key.base_url if key else None,
        key_source=chosen.key_source,
        key_id=key.key_id if key else None,
        key_owner=key.tenant if key else None,
        key_version=key.version if key else None,
        key_fields=_key_fields(key, planned.preferences),
        body_defaults=_limit_answer(_body_defaults(request, chosen, planned.preferences, context), needs),
        residency=planned.residencies.get(index),
        drop_unsupported=context.tenant is not None and context.tenant.drop_unsupported,
        remaining_candidates=others,
        failed_attempts=failed_attempts,
        chosen_model=chosen.chosen_model,
        delay_ms=chosen.delay_ms,
        first_answer_within_ms=first_answer_within_ms(request.deadline_ms - chosen.delay_ms, others=divided),
        returns_failure=_may_continue(planned, context, len(failed_attempts) + 1),
        fallback_policy=policy,
        fallback_reason=planned.fallback_reason,
        **_held(request),
        **_content(context),
        **values,
        **_terms(planned, context, request.power_level),
    )


def _content(context: RoutingContext) -> dict[str, Any]:
    """Return what is to be stored of prompt and answer; nothing, as most tenants want it, takes no space in the message."""
    tenant = context.tenant
    if tenant is None or tenant.content is ContentPolicy.OFF:
        return {}
    return {"content": tenant.content, "content_days": tenant.content_days}


def _catalog_id(context: RoutingContext, chosen: Candidate) -> str | None:
    """Return the catalog's id of the model that is called, unless that is what its provider calls it."""
    found = context.catalog.id_of(chosen.provider, chosen.model)
    return None if found in model_names(chosen.provider, chosen.model) else found


def _terms(planned: Plan, context: RoutingContext, asked: PowerLevel | None) -> dict[str, Any]:
    """Return by what an attempt is charged: the tenant's tier and the level."""
    return {"tier": context.tenant.tier if context.tenant else None, "charged_level": charged_level(planned, asked)}


def charged_level(planned: Plan, asked: PowerLevel | None) -> PowerLevel:
    """Return the level whose multiplier applies: the one that chose the model, or was asked for, or is preferred."""
    return planned.power_level or asked or planned.preferences.power_level or DEFAULT_POWER_LEVEL


def reserve(
    decision: RoutingDecision, reservation: Reservation, allowance: AllowanceUse | None = None
) -> RoutingDecision:
    """Return a decision to run an attempt with what it may spend."""
    assert decision.run is not None
    changes = {"reservation": reservation, "allowance": allowance}
    return replace(decision, run=decision.run.model_copy(update=changes))


def refuse(decision: RoutingDecision, failure: Failure) -> RoutingDecision:
    """Return the refusal of a request for which an attempt was planned."""
    run = decision.run
    assert run is not None
    refused = frames.RequestRefused(
        request_id=run.request_id,
        decision_id=run.decision_id,
        failure=mark_earlier_charge(failure, (one.failure for one in run.failed_attempts if not one.no_key)),
        decision=run.decision,
        rate_limits=run.rate_limits,
    )
    return RoutingDecision(decision.plan, None, refused)


def _limit_answer(defaults: BodyDefaults | None, needs: AttemptNeeds) -> BodyDefaults | None:
    """Return the defaults of a body that sets no limit itself, with the limit that its credit allows."""
    limit = needs.max_tokens
    if limit is None:
        return defaults
    if defaults is None:
        return BodyDefaults(max_tokens=limit, most_tokens=limit)
    limits = [each for each in (limit, defaults.max_tokens, defaults.most_tokens) if each is not None]
    return defaults.model_copy(update={"max_tokens": min(limits), "most_tokens": min(limits)})


def _held(request: Request) -> dict[str, Any]:
    """Return what a request holds of the limits since its first attempt, and what was left of them then."""
    if not isinstance(request, Reroute):
        return {}
    return {"admission": request.admission, "rate_limits": request.rate_limits}


def _refuse(
    request: Request, fresh: FreshIds, failure: Failure, summary: DecisionSummary | None
) -> frames.RequestRefused:
    failed = request.failed_attempts if isinstance(request, Reroute) else ()
    return frames.RequestRefused(
        request_id=request.request_id,
        decision_id=fresh.decision_id,
        failure=mark_earlier_charge(failure, (one.failure for one in failed if not one.no_key)),
        decision=summary,
        rate_limits=_held(request).get("rate_limits"),
    )


def limit(decision: RoutingDecision, admitted: Admitted) -> RoutingDecision:
    """Return a decision to run an attempt with what it holds of the limits, or the refusal where one of them is reached."""
    run = decision.run
    assert run is not None
    if admitted.failure is not None:
        refused = frames.RequestRefused(
            request_id=run.request_id,
            decision_id=run.decision_id,
            failure=admitted.failure,
            decision=run.decision,
            rate_limits=admitted.rate_limits,
        )
        return RoutingDecision(decision.plan, None, refused)
    if admitted.rate_limits is None:
        return decision
    held = {"admission": admitted.admission, "rate_limits": admitted.rate_limits}
    return replace(decision, run=run.model_copy(update=held))


def asks_to_wait(decision: RoutingDecision) -> bool:
    """Return whether the decision is a refusal that asks the caller to come back."""
    return decision.refused is not None and decision.refused.failure.failure_class in TRY_LATER


def wait_for_limits(decision: RoutingDecision, seen: Admitted) -> RoutingDecision:
    """Return a refusal with what is left of the caller's limits, and with the later time where one of them is reached too.

    A caller that came back before both would be refused again.
    """
    refused = decision.refused
    assert refused is not None
    failure, reached = refused.failure, seen.failure
    if reached is not None:
        later_ms = max(failure.retry_after_ms or 0, reached.retry_after_ms or 0)
        message = f"{failure.message}; besides, {reached.message}"
        failure = failure.model_copy(update={"retry_after_ms": later_ms, "message": message})
    changes = {"failure": failure, "rate_limits": seen.rate_limits}
    return RoutingDecision(decision.plan, None, refused.model_copy(update=changes))


def _body_defaults(
    request: Request, chosen: Candidate, preferences: EffectivePreferences, context: RoutingContext
) -> BodyDefaults | None:
    """Return what the worker adds to the body of a chat: no more tokens than the model can answer with."""
    defaults = preferences.body_defaults
    if defaults is None or request.kind is not RequestKind.CHAT:
        return None
    model = context.resolve(chosen.chosen_model or request.model).model
    most = model.max_output_tokens if model is not None else None
    if most is None or defaults.max_tokens is None or defaults.max_tokens <= most:
        return defaults
    return defaults.model_copy(update={"max_tokens": most})


def _key_fields(key: KeyFacts | None, preferences: EffectivePreferences) -> dict[str, str]:
    """Return the fields of the key, with the site that the preferences name to OpenRouter."""
    if key is None:
        return {}
    if key.provider != _OPENROUTER:
        return key.fields
    site = {"site_url": preferences.openrouter_site_url, "site_name": preferences.openrouter_site_name}
    return key.fields | {name: value for name, value in site.items() if value is not None}


def _may_continue(planned: Plan, context: RoutingContext, attempt_number: int) -> bool:
    """Return whether a failure of this attempt should come back: to be tried again, or because others recover by then."""
    recovering = any(candidate.reason in _RECOVERING for candidate in planned.candidates)
    return attempt_number < MAX_ATTEMPTS and (context.fallback.max_retries > 0 or recovering)


def _failure_of(request: Request, planned: Plan, failed_attempts: Sequence[FailedAttempt]) -> Failure | None:
    """Return why no attempt is made: nothing is left to try, too many attempts, or no time; None if one is made."""
    if planned.refusal is None and request.deadline_ms and len(failed_attempts) < MAX_ATTEMPTS:
        return None
    if planned.refusal is not None:
        return planned.refusal
    return failed_attempts[-1].failure if failed_attempts else _EXPIRED


_NO_FEATURES = RequestFeatures()
_RECOVERING = frozenset({DropReason.UNHEALTHY, DropReason.KEY_COOLING})
_EXPIRED = Failure(
    failure_class=FailureClass.EXPIRED, message="the request's time ran out before it was routed; nothing was sent"
)


def _route_request(request: Request) -> RouteRequest:
    return RouteRequest(
        request.tenant,
        request.model,
        request.allowed_models,
        request.failed_attempts if isinstance(request, Reroute) else (),
        request.kind,
        request.prefer_own_keys,
        request.request_id,
        request.client_token_id,
        request.team,
        request.member,
        request.operation,
        request.tags,
        request.power_level,
        request.features or _NO_FEATURES,
        request.conversation,
        request.deadline_ms,
    )


def record(
    request: Request,
    decision: RoutingDecision,
    fresh: FreshIds,
    *,
    router: str,
    now: datetime,
    duration_us: int,
    trace: str,
) -> DecisionRecord:
    """Create the decision record for the ledger."""
    return DecisionRecord(
        decision_id=fresh.decision_id,
        request_id=request.request_id,
        tenant=request.tenant,
        client_token_id=request.client_token_id,
        router=router,
        kind=request.kind,
        model_asked=request.model,
        operation=request.operation,
        tags=request.tags,
        team=request.team,
        member=request.member,
        power_level=decision.plan.power_level or request.power_level,
        asked_level=request.power_level,
        features=request.features,
        prefer_own_keys=request.prefer_own_keys,
        conversation=request.conversation,
        models=list(decision.plan.models),
        rule=decision.plan.rule,
        preferences=list(decision.plan.applied),
        stream=request.stream,
        decided_at=now,
        duration_us=duration_us,
        candidates=decision.plan.candidates,
        order=decision.plan.order,
        refusal=decision.refused.failure if decision.refused else None,
        attempt_id=decision.run.attempt_id if decision.run else None,
        attempt_number=len(request.failed_attempts) + 1 if isinstance(request, Reroute) else 1,
        attempt_refused=isinstance(request, Reroute) and request.failed_attempts[-1].refused,
        delay_ms=decision.run.delay_ms if decision.run else 0,
        fallback_reason=decision.run.fallback_reason if decision.run else None,
        traceparent=trace,
    )
