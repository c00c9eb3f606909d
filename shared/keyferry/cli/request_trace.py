"""The ledger's records of one request: its decisions and its attempts."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from keyferry.cli.connection import Connection
from keyferry.cli.problem import Problem
from keyferry.contracts.route import DecisionRecord, GetDecision
from keyferry.contracts.topology import ATTEMPT_LIST, DECISION_GET
from keyferry.contracts.usage import GetAttempts, LedgerRow, Outcome
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.bus.requests import BusError
from keyferry.runtime.tracing.context import trace_id

TRACE_TIMEOUT_SECONDS = 10.0
EXPLAIN_TIMEOUT_SECONDS = 5.0
"""For a request of which nothing is known: records arrive about a second after it. An unknown id should not take long."""
_DECISION_LAG = timedelta(seconds=2)
"""The longest time that a decision usually arrives after the attempt before it."""
_POLLING = Backoff(first_seconds=0.05, longest_seconds=0.5)


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """The records of one request. `decision` is None and `attempts` is incomplete until they have arrived."""

    tenant: str
    request_id: str
    decision: DecisionRecord | None
    attempts: list[LedgerRow]
    later: list[DecisionRecord] = field(default_factory=list)
    """The decisions after failed attempts, in order."""

    @property
    def trace_id(self) -> str | None:
        """The OpenTelemetry trace of the request, 32 hex digits."""
        of_attempts = next((row.trace_id for row in self.attempts if row.trace_id), None)
        return of_attempts or trace_id(self.decision.traceparent if self.decision else None)

    @property
    def refused_attempts(self) -> frozenset[int]:
        """The numbers of attempts that a worker refused: nothing was called, and there is no row of them."""
        decisions = [] if self.decision is None else [self.decision, *self.later]
        return frozenset(one.attempt_number - 1 for one in decisions if one.attempt_refused)

    def made_of(self, attempts: int) -> int:
        """Return how many of the first `attempts` were made, and so have a row."""
        return attempts - sum(number <= attempts for number in self.refused_attempts)

    def missing(self, expected_attempts: int | None = None) -> list[str]:
        """Name the records that have not arrived in the ledger.

        Decisions and attempts travel in different streams, so either may arrive first. If `expected_attempts` is not known,
        each recorded decision that started an attempt is expected to have one, unless a worker refused that attempt.
        """
        decisions = [] if self.decision is None else [self.decision, *self.later]
        decided = {decision.attempt_number for decision in decisions}
        recorded = {row.record.attempt_number for row in self.attempts}
        missing = [] if self.decision is not None else ["the decision record"]
        later = sorted(recorded - decided - {1})
        missing += [f"the decision for attempt {number}" for number in later]
        if expected_attempts is None:
            started = {one.attempt_number for one in decisions if one.attempt_id is not None and one.refusal is None}
            missing += [f"the row of attempt {number}" for number in sorted(started - recorded - self.refused_attempts)]
        elif len(self.attempts) < self.made_of(expected_attempts):
            missing.append("the attempt's row" if expected_attempts == 1 else "the rows of the attempts")
        return missing

    def may_continue(self, now: datetime) -> bool:
        """Return whether the last recorded attempt failed so recently that the decision after it may be on its way."""
        last = max(self.attempts, key=lambda row: row.record.attempt_number, default=None)
        if last is None or last.record.outcome is not Outcome.FAILED or last.record.attempt_number <= len(self.later):
            return False
        return now - last.recorded_at < _DECISION_LAG


async def fetch_trace(
    operator: Connection,
    tenant: str,
    request_id: str,
    expected_attempts: int | None,
    within_seconds: float,
) -> RequestTrace:
    """Poll the ledger until the trace is complete, for at most `within_seconds`, and return what it has.

    `expected_attempts` is None if it is not known, see `RequestTrace.missing`. Raises Refused for the ledger's refusal, and
    BusError if it never answered.
    """
    give_up = time.monotonic() + within_seconds
    polls = 0
    while True:
        late = time.monotonic() >= give_up
        try:
            trace = await _fetch_once(operator, tenant, request_id)
        except BusError:
            if late:
                raise
        else:
            settled = expected_attempts is not None or not trace.may_continue(datetime.now(UTC))
            if late or (settled and not trace.missing(expected_attempts)):
                return trace
        await asyncio.sleep(_POLLING.delay_seconds(polls))
        polls += 1


def incomplete_trace(missing: list[str], within_seconds: float) -> Problem:
    """Return the problem for records that did not arrive in time."""
    return Problem(
        f"after {within_seconds:g} s {' and '.join(missing)} of this request had not reached the ledger",
        "Nothing is lost: workers keep records until the ledger has them. If the request is still running, run this again"
        " when it has ended; otherwise run `keyferry doctor` to find the cause",
    )


async def _fetch_once(operator: Connection, tenant: str, request_id: str) -> RequestTrace:
    decision, attempts = await asyncio.gather(
        operator.ask(DECISION_GET, GetDecision(tenant=tenant, request_id=request_id)),
        operator.ask(ATTEMPT_LIST, GetAttempts(tenant=tenant, request_id=request_id)),
    )
    return RequestTrace(tenant, request_id, decision.record, attempts.rows, decision.later)
