"""Failures on request: answers that are errors, late or lost, before or after the effect of a request."""

import re
from dataclasses import dataclass, field
from enum import StrEnum


class FailureKind(StrEnum):
    """What happens to a request."""

    RATE_LIMIT = "rate_limit"
    """429 without an effect."""
    SERVER_ERROR = "server_error"
    """500 without an effect."""
    LOST_ANSWER = "lost_answer"
    """The request has its effect, and the connection closes without an answer."""
    LATE_ANSWER = "late_answer"
    """The request has its effect, and its answer comes after `seconds`."""


AFTER_EFFECT = (FailureKind.LOST_ANSWER, FailureKind.LATE_ANSWER)


@dataclass(slots=True)
class PlannedFailure:
    """The next `times` requests of a method whose path matches `path` fail; `method` * stands for all."""

    kind: FailureKind
    path: str = ".*"
    method: str = "*"
    times: int = 1
    seconds: float = 0.0

    def matches(self, method: str, path: str) -> bool:
        """Return whether a request is one of those that fail."""
        return self.method in ("*", method) and re.fullmatch(self.path, path) is not None


@dataclass
class FailurePlan:
    """The failures that are still to happen."""

    planned: list[PlannedFailure] = field(default_factory=list)

    def add(self, failure: PlannedFailure) -> None:
        """Plan a failure."""
        self.planned.append(failure)

    def take(self, method: str, path: str, *, after_effect: bool) -> PlannedFailure | None:
        """Return the failure of this request, which then has happened once: one that comes before its effect, or after."""
        for failure in self.planned:
            if (failure.kind in AFTER_EFFECT) is after_effect and failure.matches(method, path):
                failure.times -= 1
                if failure.times <= 0:
                    self.planned.remove(failure)
                return failure
        return None
