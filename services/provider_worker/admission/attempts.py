"""Admission of attempts: the bulkhead of each, the failure that stands for a refusal, and whether a router may plan again."""

from keyferry.contracts.chat import AttemptRun, Reroute
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.key_address import is_standard_origin
from keyferry.contracts.origin import cached_origin
from keyferry.contracts.providers import NAMED_BY_TENANT, PROVIDERS
from keyferry.contracts.usage import KeySource
from services.provider_worker.admission.admission import AdmissionRefusal, AdmissionRefusalReason, AttemptAdmission
from services.provider_worker.fallback import reroute

BUILT_IN = "echo"
_MIN_RETRY_MS = 200
_MAX_RETRY_MS = 30_000
"""The estimate says nothing about a provider that hangs, and callers should come back some time."""
_MAX_NAMED = 10
"""Most providers in a fact."""
_MIN_START_MS = 100
"""With less time left to start in, another provider could not be asked."""


_OF_THE_PROVIDER = frozenset({AdmissionRefusalReason.PROVIDER, AdmissionRefusalReason.TENANT_AT_PROVIDER})
"""Another provider may have a free place."""


def bulkhead_of(run: AttemptRun) -> str:
    """Return the name of the group of attempts that one server can hold up: a provider's, or those of a tenant's own server."""
    if run.endpoint is not None:
        return f"{run.provider} {run.tenant}/{run.endpoint}"
    if run.provider in NAMED_BY_TENANT or _at_own_address(run):
        return f"{run.provider} {run.tenant} {run.base_url}"
    return run.provider


def _at_own_address(run: AttemptRun) -> bool:
    """Return whether a tenant's key is used at an address that the tenant has chosen, such as its own proxy."""
    if run.key_source is not KeySource.BYOK or run.base_url is None:
        return False
    return not is_standard_origin(run.provider, cached_origin(run.base_url))


def refusal_failure(refusal: AdmissionRefusal, run: AttemptRun) -> Failure:
    """Return the failure that the caller gets: `limit` (429) for the tenant's own share, else `overloaded` (503)."""
    retry_after_ms = int(min(max(refusal.retry_after_seconds * 1000, _MIN_RETRY_MS), _MAX_RETRY_MS))
    failure_class = FailureClass.OVERLOADED
    match refusal.reason:
        case AdmissionRefusalReason.TENANT:
            failure_class = FailureClass.LIMIT
            message = "this tenant has as many requests under way as its share of the gateway allows"
        case AdmissionRefusalReason.TENANT_AT_PROVIDER:
            failure_class = FailureClass.LIMIT
            message = (
                f"this tenant has as many requests under way at {_name_of(run)} as its share of the gateway allows"
            )
        case AdmissionRefusalReason.PROVIDER:
            message = f"{_name_of(run)} has as many requests under way as the gateway allows for one provider"
        case AdmissionRefusalReason.WORKER:
            message = "the gateway cannot take another attempt right now"
    message = f"{message}; try again in {retry_after_ms / 1000:.1f} s"
    return Failure(failure_class=failure_class, message=message, retry_after_ms=retry_after_ms)


def _name_of(run: AttemptRun) -> str:
    return run.endpoint or (PROVIDERS[run.provider].title if run.provider in PROVIDERS else run.provider)


def hand_back(run: AttemptRun, refusal: AdmissionRefusal, failure: Failure, *, now_unix_ms: int) -> Reroute | None:
    """Return the request for a router to plan with another provider, or None where the refusal is final.

    Only where a share of this provider is the reason, and once per request: a gateway without a free place must not be asked
    again and again. `start_by` stays, because the caller knows nothing of this attempt and sends the request again after it.
    """
    earlier = (failed.failure for failed in run.failed_attempts)
    if (
        refusal.reason not in _OF_THE_PROVIDER
        or any(one.failure_class is FailureClass.OVERLOADED and one.where is Where.GATEWAY for one in earlier)
        or run.start_by_unix_ms - now_unix_ms < _MIN_START_MS
    ):
        return None
    busy = failure.model_copy(update={"failure_class": FailureClass.OVERLOADED})
    again = reroute(run, busy, left_ms=run.deadline_ms, now_unix_ms=now_unix_ms, refused=True)
    return None if again is None else again.model_copy(update={"start_by_unix_ms": run.start_by_unix_ms})


def admission_facts(admission: AttemptAdmission) -> dict[str, str]:
    """Return what `keyferry status` shows of the waiting and refused attempts, and of the busiest providers."""
    refused = {reason.value: count for reason, count in admission.refused.items() if count}
    busiest = sorted(admission.bulkheads.items(), key=lambda one: (-sum(one[1]), one[0]))[:_MAX_NAMED]
    facts = {
        "waiting": str(admission.waiting) if admission.waiting else "",
        "refused": ", ".join(f"{count} ({reason})" for reason, count in refused.items()),
        "providers": ", ".join(
            f"{name}: {running}" + (f" + {waiting} waiting" if waiting else "") for name, (running, waiting) in busiest
        ),
    }
    return {name: text for name, text in facts.items() if text}
