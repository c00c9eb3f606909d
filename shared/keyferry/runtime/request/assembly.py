"""The rules of a complete answer: which attempt counts, which frame comes next, when it has ended. Pure."""

from dataclasses import dataclass

from keyferry.contracts import frames
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.limits import RateLimits
from keyferry.contracts.route import DecisionSummary
from keyferry.contracts.usage import Outcome


class CallFailed(Exception):
    """The request has ended without a complete answer."""

    def __init__(
        self,
        failure: Failure,
        *,
        decision_id: str | None = None,
        decision: DecisionSummary | None = None,
        rate_limits: RateLimits | None = None,
    ) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.decision_id = decision_id
        self.decision = decision
        """Where the request asked for it, and was refused."""
        self.rate_limits = rate_limits
        """What is left of the caller's limits, where the request was refused."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the answer to deliver; `last` if it completes the answer."""

    payload: bytes
    last: bool


class Assembly:
    """Assembles the frames of one request. A gap is a failure: an incomplete answer must not look complete."""

    def __init__(self) -> None:
        self.accepted: frames.Accepted | None = None
        self._next_seq = 1

    @property
    def pieces(self) -> int:
        """Number of pieces received of the attempt that counts."""
        return self._next_seq - 1

    def take(self, frame: frames.Frame) -> Piece | None:
        """Return the piece that `frame` adds, if any. Raises CallFailed."""
        if isinstance(frame, frames.Accepted):
            self._accept(frame)
            return None
        if isinstance(frame, frames.RequestRefused):
            raise CallFailed(
                frame.failure,
                decision_id=frame.decision_id,
                decision=frame.decision,
                rate_limits=frame.rate_limits,
            )
        if self.accepted is None or frame.attempt_id != self.accepted.attempt_id:
            return None
        if isinstance(frame, frames.Data):
            if frame.seq != self._next_seq:
                raise self._gap()
            self._next_seq += 1
            return Piece(frame.payload, last=False)
        return self._end(frame)

    def _accept(self, frame: frames.Accepted) -> None:
        """Take an acceptance: the first, that of a later attempt, or the second of an attempt that was delayed."""
        known = self.accepted
        if known is None or _follows(frame, known) or (frame.attempt_id == known.attempt_id and not self.pieces):
            self.accepted = frame
            self._next_seq = 1

    def _end(self, frame: frames.End) -> Piece:
        if frame.count != self._next_seq - 1:
            raise self._gap()
        if frame.outcome is not Outcome.COMPLETED:
            raise self._failed(
                frame.failure
                or Failure(failure_class=FailureClass.INTERNAL, message="the attempt ended without a reason")
            )
        return Piece(frame.payload, last=True)

    def _gap(self) -> CallFailed:
        return self._failed(
            Failure(
                failure_class=FailureClass.TRUNCATED,
                message="a part of the answer was lost between the services",
                where=Where.MID_STREAM,
            )
        )

    def _failed(self, failure: Failure) -> CallFailed:
        return CallFailed(failure, decision_id=self.accepted.decision_id if self.accepted else None)


def _follows(frame: frames.Accepted, known: frames.Accepted) -> bool:
    """Return whether `frame` is of an attempt after `known`, and of the same copy of the request if it was sent twice."""
    same_copy = not frame.earlier_attempts or known.attempt_id in frame.earlier_attempts  # empty: an earlier build's
    return same_copy and frame.attempt_number > known.attempt_number
