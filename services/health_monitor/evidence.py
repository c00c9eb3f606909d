"""Evaluates what one attempt proves about the health of its target.

Only the target's own behaviour counts. A rejected key, a rejected request, a caller who disconnects and a deadline that was
too short prove nothing about it. Pure.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from keyferry.contracts.failure import COUNTS_AGAINST_TARGET, Failure, FailureClass, Where
from keyferry.contracts.health import KeyClass, Target, target_of_call
from keyferry.contracts.usage import AttemptRecord, KeyRate, KeySource, Outcome

_C = FailureClass

_MAX_MODEL_BYTES = 200
"""The router's limit for a model name; encoded as a key of the view it takes 1.6 times that."""


class Evidence(StrEnum):
    """What an attempt proves about its target."""

    SUCCESS = "success"
    FAILURE = "failure"
    RETRY_LATER = "retry_later"
    """The target works and asks for a pause (Retry-After)."""
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedAttempt:
    """An attempt as far as health is concerned. Times have a zone."""

    attempt_id: str
    target: Target
    tenant: str | None = None
    """Whose request it was, where the target is shared."""
    started_at: datetime
    ended_at: datetime
    latency_ms: int
    evidence: Evidence
    failure_class: FailureClass | None = None
    retry_after: timedelta = timedelta(0)
    """The requested pause; more than zero exactly if the evidence is RETRY_LATER."""
    reached: bool = True
    """Whether the connection was certainly established."""
    first_token_ms: int | None = None
    cooling_key: Target | None = None
    """The use of one key that is asked to pause, for `key_pause`; the target itself is not."""
    key_pause: timedelta = timedelta(0)
    used_key: Target | None = None
    """The use of a key whose rate limit the provider has reported."""
    key_rate: KeyRate | None = None

    @property
    def answered_at(self) -> datetime:
        """When the answer began, as far as that is known: of a stream with its first token."""
        if self.first_token_ms is None:
            return self.ended_at
        return min(self.started_at + timedelta(milliseconds=self.first_token_ms), self.ended_at)


def attempt_of(record: AttemptRecord, *, stored_at: datetime, short_timeout: timedelta) -> ObservedAttempt | None:
    """Convert `record`; None if it has no target: its model has a name that no key of the view can hold.

    `stored_at` is when the bus stored the record: an attempt cannot have ended later, whatever the worker's clock says.
    `short_timeout`: a caller's deadline shorter than this proves nothing about a target that did not answer in time.
    """
    target = _target_of(record)
    if target is None:
        return None
    evidence, failure_class = _classify(record, target, short_timeout)
    failure = record.failure
    started_at = record.started_at if record.started_at.tzinfo else record.started_at.replace(tzinfo=UTC)
    pause = timedelta(milliseconds=(failure.retry_after_ms if failure is not None else None) or 0)
    cooling_key = _cooling_key(record, target)
    answered = failure is not None and failure.status is not None
    return ObservedAttempt(
        attempt_id=record.attempt_id,
        target=target,
        tenant=record.tenant if target.tenant is None and target.key_class is not KeyClass.NONE else None,
        started_at=started_at,
        ended_at=min(started_at + timedelta(milliseconds=record.latency_ms), stored_at),
        latency_ms=record.latency_ms,
        first_token_ms=record.first_token_ms if record.stream else None,
        evidence=evidence,
        failure_class=failure_class,
        retry_after=pause if evidence is Evidence.RETRY_LATER else timedelta(0),
        cooling_key=cooling_key,
        key_pause=pause if cooling_key is not None else timedelta(0),
        used_key=target.of_key(record.key_id, record.tenant) if record.key_id and record.key_rate else None,
        key_rate=record.key_rate,
        reached=failure_class is not _C.UNREACHABLE and (answered or evidence is not Evidence.NEUTRAL),
    )


def _target_of(record: AttemptRecord) -> Target | None:
    if len(record.model.encode()) > _MAX_MODEL_BYTES:
        return None
    return target_of_call(
        provider=record.provider,
        model=record.model,
        origin=record.origin,
        key_source=record.key_source,
        tenant=record.tenant,
        endpoint=record.endpoint,
    )


def _cooling_key(record: AttemptRecord, target: Target) -> Target | None:
    """Return the use of a key that a 429 throttles, where it says for how long: a rate limit is one account's."""
    failure = record.failure
    if record.key_id is None or failure is None or not failure.retry_after_ms:
        return None
    return target.of_key(record.key_id, record.tenant) if failure.failure_class is _C.RATE_LIMIT else None


def _classify(record: AttemptRecord, target: Target, short_timeout: timedelta) -> tuple[Evidence, FailureClass | None]:
    if record.outcome is Outcome.COMPLETED:
        return Evidence.SUCCESS, None
    if record.outcome is Outcome.CANCELLED or record.failure is None:
        return Evidence.NEUTRAL, None
    failure = record.failure
    failure_class = failure.failure_class
    if record.key_source is KeySource.NONE:
        return Evidence.NEUTRAL, failure_class  # the built-in echo fails as it is asked to
    if failure.retry_after_ms and failure_class in (_C.RATE_LIMIT, _C.OVERLOADED):
        # A rate limit belongs to one key; only at a tenant's own server that is called without one it is the target's.
        of_key = failure_class is _C.RATE_LIMIT and (target.tenant is None or record.key_id is not None)
        return (Evidence.NEUTRAL if of_key else Evidence.RETRY_LATER), failure_class
    if not COUNTS_AGAINST_TARGET[failure_class] or _is_caller_timeout(record, failure, short_timeout):
        return Evidence.NEUTRAL, failure_class
    return Evidence.FAILURE, failure_class


def _is_caller_timeout(record: AttemptRecord, failure: Failure, short_timeout: timedelta) -> bool:
    """Return whether a deadline cut off what may have been a good answer.

    Callers choose their deadlines: without this check one tenant could open the circuit of a provider that all share.
    """
    if failure.failure_class is not _C.TIMEOUT or failure.where is Where.HTTP_STATUS:
        return False
    return record.first_token_ms is not None or record.latency_ms < short_timeout / timedelta(milliseconds=1)
