"""Drops candidates whose attempts nobody could pay for, and says how much the attempt at the chosen one may spend. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import Candidate, DropReason
from services.router.planning.context import Plan
from services.router.planning.health_filter import drop

_CLASSES = {
    DropReason.NO_CREDIT: FailureClass.CREDIT,
    DropReason.BUDGET_SPENT: FailureClass.BUDGET,
    DropReason.UNPRICED: FailureClass.POLICY,
}
_RETRY_AFTER_HELD_MS = 1000
"""When running attempts give back what they hold is not known."""


@dataclass(frozen=True, slots=True)
class AttemptNeeds:
    """What an attempt may spend of which accounts."""

    amounts: Mapping[str, int]
    """By account, in its unit."""
    max_tokens: int | None = None
    """The limit of the answer that keeps it within that, for a request that sets none."""


NOTHING = AttemptNeeds({})


@dataclass(frozen=True, slots=True)
class Unaffordable:
    """Why an attempt is not made: its account has less than it may cost."""

    reason: DropReason
    detail: str
    may_return: bool = False
    """Whether running attempts hold so much that it may be enough in a moment."""


class NeedsOf(Protocol):
    """Computes what the attempt at a candidate may spend."""

    def __call__(self, candidate: Candidate, key: KeyFacts | None, level: PowerLevel) -> AttemptNeeds | Unaffordable:
        """Return what it may spend, or why it is not made. `level` is the one whose multiplier applies."""


@dataclass(frozen=True, slots=True)
class AffordablePlan:
    """A plan whose first candidate can be paid for, and what its attempt may spend."""

    plan: Plan
    needs: AttemptNeeds = NOTHING


def find_affordable(plan: Plan, needs_of: NeedsOf, level: PowerLevel) -> AffordablePlan:
    """Drop candidates from the front of the order that cannot be paid for; without any left the plan is a refusal."""
    candidates, order = list(plan.candidates), list(plan.order)
    last: Unaffordable | None = None
    while order:
        index = order[0]
        needs = needs_of(candidates[index], plan.keys.get(index), level)
        if isinstance(needs, AttemptNeeds):
            return AffordablePlan(plan if last is None else replace(plan, candidates=candidates, order=order), needs)
        last = needs
        candidates[index] = drop(candidates[index], needs.reason, needs.detail)
        del order[0]
    if last is None:
        return AffordablePlan(plan)
    failure = Failure(
        failure_class=_CLASSES[last.reason],
        message=last.detail,
        retry_after_ms=_RETRY_AFTER_HELD_MS if last.may_return else None,
    )
    return AffordablePlan(replace(plan, candidates=candidates, order=order, refusal=failure))
