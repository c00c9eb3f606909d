"""From a request and the facts to an ordered plan of attempts, with a reason for every candidate, kept or dropped."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from keyferry.contracts.chat import Tried
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.health import CircuitState, Health, Target
from keyferry.contracts.route import Candidate, DropReason, Endpoint, Model
from keyferry.contracts.tenancy import Tenant
from keyferry.contracts.usage import KeySource

ECHO = "echo"
CUSTOM = "custom"
_MAX_NAMED_MODELS = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for."""

    tenant: str
    model: str
    allowed_models: Sequence[str] | None = None
    """What the client token may use; None is everything."""
    tried: Sequence[Tried] = ()
    """Attempts of this request that have failed."""


def _healthy(target: Target) -> Health | None:
    return None


def _no_trial(target: Target) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the router knows of the tenant at this moment."""

    tenant: Tenant | None
    endpoints: Sequence[Endpoint]
    now: datetime
    health: Callable[[Target], Health | None] = _healthy
    """What the health monitor says of a target; None is nothing bad."""
    trial: Callable[[Target], bool] = _no_trial
    """Whether a trial of a target whose time to rest is over may be made now."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidates and the order to try them in; or why there is none."""

    candidates: list[Candidate]
    order: list[int]
    refusal: Failure | None
    endpoints: dict[int, Endpoint]
    """The endpoint behind a candidate's index, where it has one."""


def plan(wanted: Wanted, facts: Facts) -> Plan:
    """Decide. Constraints first, then health, then the order.

    A lower priority number comes first, then the name. A target whose time to rest is over is tried first, once in a while,
    since the next candidate answers if it fails again; otherwise it comes last until somebody's trial has succeeded.
    """
    candidates: list[Candidate] = []
    endpoints: dict[int, Endpoint] = {}
    ranks: dict[int, int] = {}
    ban = _ban(wanted, facts)
    candidates.append(_echo(wanted, ban))
    for endpoint in sorted(facts.endpoints, key=lambda e: (e.priority, e.name)):
        index = len(candidates)
        endpoints[index] = endpoint
        candidate = _custom(wanted, endpoint, ban)
        if candidate.kept:
            candidate, ranks[index] = _judged(candidate, wanted, facts)
        candidates.append(candidate)
    kept = [index for index, candidate in enumerate(candidates) if candidate.kept]
    order = sorted(kept, key=lambda index: ranks.get(index, _ORDINARY))
    refusal = None if order else _refusal(wanted, facts, candidates)
    return Plan(candidates, order, refusal, endpoints)


_TRIAL, _ORDINARY, _RECOVERING = range(3)


def _judged(candidate: Candidate, wanted: Wanted, facts: Facts) -> tuple[Candidate, int]:
    """A candidate that the rules allow, judged by what happened to it: in this request, and lately in others."""
    for tried in wanted.tried:
        if (tried.provider, tried.endpoint, tried.model) == (candidate.provider, candidate.endpoint, candidate.model):
            words = f"{candidate.endpoint} has failed for this request: {tried.failure.failure_class}"
            return _drop(candidate, DropReason.ALREADY_TRIED, words), _ORDINARY
    target = _target(candidate, wanted.tenant)
    health = facts.health(target)
    if health is None or health.state is CircuitState.CLOSED:
        return candidate, _ORDINARY
    if health.until is not None and health.until > facts.now:
        rest = (health.until - facts.now).total_seconds()
        words = f"{candidate.endpoint} is {health.state} for {rest:.1f} s more: {health.reason}"
        return _drop(candidate, DropReason.UNHEALTHY, words), _ORDINARY
    if facts.trial(target):
        words = f"{candidate.words}; it was {health.state}, and this is the trial whether it is well again"
        return candidate.model_copy(update={"words": words}), _TRIAL
    words = f"{candidate.words}; it was {health.state}, and others come first until a trial has succeeded"
    return candidate.model_copy(update={"words": words}), _RECOVERING


def _target(candidate: Candidate, tenant: str) -> Target:
    return Target(provider=candidate.provider, model=candidate.model, tenant=tenant, endpoint=candidate.endpoint)


def _drop(candidate: Candidate, reason: DropReason, words: str) -> Candidate:
    return candidate.model_copy(update={"kept": False, "reason": reason, "words": words})


def models(facts: Facts, allowed_models: Sequence[str] | None) -> list[Model]:
    """What the tenant can call now, under every name it can use."""
    if facts.tenant is None or facts.tenant.suspended:
        return []
    found = [Model(id=ECHO, provider=ECHO, key_source=KeySource.NONE)]
    for endpoint in sorted(facts.endpoints, key=lambda e: (e.priority, e.name)):
        if endpoint.enabled:
            found += (
                Model(id=name, provider=CUSTOM, endpoint=endpoint.name, key_source=KeySource.CUSTOM)
                for model in endpoint.models
                for name in (model, f"{endpoint.name}/{model}")
            )
    first: dict[str, Model] = {}
    for model in found:
        first.setdefault(model.id, model)
    return [model for model in first.values() if allowed_models is None or model.id in allowed_models]


_Verdict = tuple[DropReason, str] | None


def _ban(wanted: Wanted, facts: Facts) -> _Verdict:
    """What forbids every candidate alike, if anything does."""
    if facts.tenant is None or facts.tenant.suspended:
        return DropReason.TENANT_SUSPENDED, f"the tenant {wanted.tenant} is suspended or unknown"
    if wanted.allowed_models is not None and wanted.model not in wanted.allowed_models:
        return DropReason.MODEL_NOT_ALLOWED, f"the client token may not use {wanted.model}"
    return None


def _echo(wanted: Wanted, ban: _Verdict) -> Candidate:
    if wanted.model != ECHO:
        return _dropped(
            ECHO, None, ECHO, KeySource.NONE, DropReason.NOT_NAMED, "the built-in echo only answers to `echo`"
        )
    if ban is not None:
        return _dropped(ECHO, None, ECHO, KeySource.NONE, *ban)
    return Candidate(
        provider=ECHO, model=ECHO, key_source=KeySource.NONE, kept=True, words="the built-in echo was asked for by name"
    )


def _custom(wanted: Wanted, endpoint: Endpoint, ban: _Verdict) -> Candidate:
    owner, slash, rest = wanted.model.partition("/")
    named = bool(slash) and owner == endpoint.name and bool(rest)
    model = rest if named else wanted.model
    listed = wanted.model in endpoint.models
    if not named and not listed:
        reason, words = DropReason.MODEL_NOT_OFFERED, f"the endpoint {endpoint.name} does not list {wanted.model}"
        return _dropped(CUSTOM, endpoint.name, model, KeySource.CUSTOM, reason, words)
    if not endpoint.enabled:
        reason, words = DropReason.ENDPOINT_DISABLED, f"the endpoint {endpoint.name} is switched off"
        return _dropped(CUSTOM, endpoint.name, model, KeySource.CUSTOM, reason, words)
    if ban is not None:
        return _dropped(CUSTOM, endpoint.name, model, KeySource.CUSTOM, *ban)
    words = (
        f"the request names the endpoint {endpoint.name}"
        if named and not listed
        else f"the endpoint {endpoint.name} lists {wanted.model} (priority {endpoint.priority})"
    )
    return Candidate(
        provider=CUSTOM, endpoint=endpoint.name, model=model, key_source=KeySource.CUSTOM, kept=True, words=words
    )


def _dropped(
    provider: str, endpoint: str | None, model: str, key_source: KeySource, reason: DropReason, words: str
) -> Candidate:
    return Candidate(
        provider=provider, endpoint=endpoint, model=model, key_source=key_source, kept=False, reason=reason, words=words
    )


def _refusal(wanted: Wanted, facts: Facts, candidates: Sequence[Candidate]) -> Failure:
    """Why there is no candidate: what a rule forbids, what failed, what rests, what is switched off, what does not exist."""
    by_reason: dict[DropReason | None, list[Candidate]] = {}
    for candidate in candidates:
        by_reason.setdefault(candidate.reason, []).append(candidate)
    for forbidding in (DropReason.TENANT_SUSPENDED, DropReason.MODEL_NOT_ALLOWED):
        if forbidding in by_reason:
            words = by_reason[forbidding][0].words
            return Failure(failure_class=FailureClass.POLICY, message=words, param="model")
    if wanted.tried:
        return wanted.tried[-1].failure
    if DropReason.UNHEALTHY in by_reason:
        return _resting(by_reason[DropReason.UNHEALTHY], wanted, facts)
    if DropReason.ENDPOINT_DISABLED in by_reason:
        words = "; ".join(candidate.words for candidate in by_reason[DropReason.ENDPOINT_DISABLED])
        return Failure(failure_class=FailureClass.UNAVAILABLE, message=words, param="model")
    return _unknown(wanted, facts)


def _resting(candidates: Iterable[Candidate], wanted: Wanted, facts: Facts) -> Failure:
    """All that could answer rest: the caller is told when the first of them may be tried again."""
    candidates = list(candidates)
    untils = [
        health.until
        for candidate in candidates
        if (health := facts.health(_target(candidate, wanted.tenant))) is not None and health.until is not None
    ]
    wait_ms = max(1, int((min(untils) - facts.now).total_seconds() * 1000)) if untils else None
    return Failure(
        failure_class=FailureClass.UNAVAILABLE,
        message="; ".join(candidate.words for candidate in candidates),
        param="model",
        retry_after_ms=wait_ms,
    )


def _unknown(wanted: Wanted, facts: Facts) -> Failure:
    names = [model.id for model in models(facts, wanted.allowed_models)]
    shown = ", ".join(names[:_MAX_NAMED_MODELS]) + (", …" if len(names) > _MAX_NAMED_MODELS else "")
    return Failure(
        failure_class=FailureClass.NOT_FOUND,
        message=f"the model {wanted.model!r} is not offered to this tenant; GET /v1/models lists: {shown or 'nothing'}",
        param="model",
    )
