"""From a request and the facts to an ordered plan of attempts, with a reason for every candidate, kept or dropped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keyferry.contracts.failure import Failure, FailureClass
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


@dataclass(frozen=True, slots=True)
class Facts:
    """What the router knows of the tenant at this moment."""

    tenant: Tenant | None
    endpoints: Sequence[Endpoint]


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidates and the order to try them in; or why there is none."""

    candidates: list[Candidate]
    order: list[int]
    refusal: Failure | None
    endpoints: dict[int, Endpoint]
    """The endpoint behind a candidate's index, where it has one."""


def plan(wanted: Wanted, facts: Facts) -> Plan:
    """Decide. Constraints first, then the order: a lower priority number first, then the name."""
    candidates: list[Candidate] = []
    endpoints: dict[int, Endpoint] = {}
    ban = _ban(wanted, facts)
    candidates.append(_echo(wanted, ban))
    for endpoint in sorted(facts.endpoints, key=lambda e: (e.priority, e.name)):
        endpoints[len(candidates)] = endpoint
        candidates.append(_custom(wanted, endpoint, ban))
    order = [index for index, candidate in enumerate(candidates) if candidate.kept]
    refusal = None if order else _refusal(wanted, facts, candidates)
    return Plan(candidates, order, refusal, endpoints)


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


def _refusal(wanted: Wanted, facts: Facts, candidates: Iterable[Candidate]) -> Failure:
    forbidding = (DropReason.TENANT_SUSPENDED, DropReason.MODEL_NOT_ALLOWED)
    for candidate in candidates:
        if candidate.reason in forbidding:
            return Failure(failure_class=FailureClass.POLICY, message=candidate.words, param="model")
    disabled = [candidate.words for candidate in candidates if candidate.reason is DropReason.ENDPOINT_DISABLED]
    if disabled:
        return Failure(failure_class=FailureClass.UNAVAILABLE, message="; ".join(disabled), param="model")
    names = [model.id for model in models(facts, wanted.allowed_models)]
    shown = ", ".join(names[:_MAX_NAMED_MODELS]) + (", …" if len(names) > _MAX_NAMED_MODELS else "")
    return Failure(
        failure_class=FailureClass.NOT_FOUND,
        message=f"the model {wanted.model!r} is not offered to this tenant; GET /v1/models lists: {shown or 'nothing'}",
        param="model",
    )
