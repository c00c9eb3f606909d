"""Whether another candidate could follow an attempt that does not answer: only then is time kept for the others. Pure."""

from collections.abc import Sequence

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.fallback import FallbackPolicy, actions_after, is_final
from keyferry.contracts.origin import cached_origin
from services.router.fallback.servers import same_address, same_target
from services.router.planning.context import Plan

_SILENCE = Failure(failure_class=FailureClass.TIMEOUT, where=Where.NO_ANSWER, message="it did not begin to answer")


def may_follow_silence(
    planned: Plan, others: Sequence[int], failed_attempts: Sequence[FailedAttempt], policy: FallbackPolicy
) -> bool:
    """Return whether one of these candidates may be tried if the first of the plan does not answer in time.

    Such an attempt may have been charged: another key of the same provider does not follow it, and after a second one, or where
    the tenant pays for one answer only, nothing does.
    """
    earlier = [failed.failure for failed in failed_attempts]
    if is_final(actions_after(_SILENCE, earlier=earlier, policy=policy)):
        return False
    first = planned.order[0]
    chosen, origin = planned.candidates[first], _origin_of(planned, first)
    return any(
        not same_target(planned.candidates[index], chosen) or not same_address(_origin_of(planned, index), origin)
        for index in reversed(others)
    )


def _origin_of(planned: Plan, index: int) -> str | None:
    """Return the address that a candidate calls, if it is known."""
    if (key := planned.keys.get(index)) is not None:
        return key.origin
    endpoint = planned.endpoints.get(index)
    return None if endpoint is None else cached_origin(endpoint.base_url)
