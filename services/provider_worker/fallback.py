"""Whether a failed attempt may be followed by another, and the message that asks the router for it.

The table of `keyferry.contracts.fallback` decides what may follow; a router decides what does. Only before anything was
delivered: afterwards another provider's answer would continue a sentence that it did not begin. Pure.
"""

from keyferry.contracts.chat import AttemptRun, FailedAttempt, Reroute, start_within_ms
from keyferry.contracts.failure import Failure
from keyferry.contracts.fallback import FallbackAction, actions_after, is_final

_MIN_LEFT_MS = 100
"""With less of the deadline left, another attempt could not answer."""


def reroute(
    run: AttemptRun,
    failure: Failure,
    *,
    left_ms: int,
    now_unix_ms: int,
    body_bytes: int = 0,
    no_key: bool = False,
    origin: str | None = None,
    refused: bool = False,
) -> Reroute | None:
    """Return the request to plan anew, or None where the failure is final: no other candidate, no time, same everywhere.

    `no_key` says that the attempt's key could not be leased; then another candidate may have one, whatever the failure's class.
    `origin` is what answered; `refused` says that this worker did not make the attempt. A body of `body_bytes` has so much more
    time to reach the next worker.
    """
    if left_ms < _MIN_LEFT_MS or not _may_follow(run, failure, no_key=no_key):
        return None
    this_attempt = FailedAttempt(
        attempt_id=run.attempt_id,
        provider=run.provider,
        endpoint=run.endpoint,
        model=run.model,
        key_id=run.key_id,
        key_source=run.key_source,
        origin=origin,
        chosen_model=run.chosen_model,
        failure=failure,
        no_key=no_key,
        failed_at_unix_ms=now_unix_ms,
        delay_ms=run.delay_ms,
        refused=refused,
    )
    return run.derive(
        Reroute,
        model=run.model_asked,
        deadline_ms=left_ms,
        start_by_unix_ms=now_unix_ms + start_within_ms(body_bytes),
        decision_id=run.decision_id,
        failed_attempts=[*run.failed_attempts, this_attempt],
    )


def _may_follow(run: AttemptRun, failure: Failure, *, no_key: bool) -> bool:
    """Return whether a router could find something to follow the failed attempt."""
    earlier = [failed.failure for failed in run.failed_attempts]
    actions = actions_after(failure, earlier=earlier, policy=run.fallback_policy, no_key=no_key)
    if is_final(actions):
        return False
    if run.remaining_candidates:
        return True
    rules = [actions_after(one.failure, policy=run.fallback_policy, no_key=one.no_key) for one in run.failed_attempts]
    later = any(FallbackAction.RETRY in each for each in (actions, *rules))
    longer = FallbackAction.LONGER_CONTEXT in actions and run.fallback_policy.longer_models
    return run.returns_failure and (later or longer)
