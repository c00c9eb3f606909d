"""The ledger's records of one request: its decisions and its attempts."""

import asyncio
import time
from dataclasses import dataclass, field

from keyferry.cli.connection import OperatorConnection
from keyferry.cli.problem import Problem
from keyferry.contracts.route import DecisionRecord, GetDecision
from keyferry.contracts.topology import ATTEMPT_LIST, DECISION_GET
from keyferry.contracts.usage import GetAttempts, LedgerRow
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.bus.requests import BusError
from keyferry.runtime.process.telemetry import trace_id

TRACE_TIMEOUT_SECONDS = 10.0
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

    def missing(self, expected_attempts: int) -> list[str]:
        """Name the records that have not arrived in the ledger."""
        missing = [] if self.decision is not None else ["the decision record"]
        if len(self.attempts) < expected_attempts:
            missing.append("the attempt's row" if expected_attempts == 1 else "the rows of the attempts")
        return missing


async def fetch_trace(
    operator: OperatorConnection,
    tenant: str,
    request_id: str,
    expected_attempts: int,
    within_seconds: float = TRACE_TIMEOUT_SECONDS,
) -> RequestTrace:
    """Poll the ledger until the trace is complete, for at most `within_seconds`, and return what it has.

    Raises Refused for the ledger's refusal, and BusError if it never answered.
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
            if late or not trace.missing(expected_attempts):
                return trace
        await asyncio.sleep(_POLLING.delay_seconds(polls))
        polls += 1


def incomplete_trace(missing: list[str], within_seconds: float = TRACE_TIMEOUT_SECONDS) -> Problem:
    """Return the problem for records that did not arrive in time."""
    return Problem(
        f"after {within_seconds:g} s {' and '.join(missing)} of this request had not reached the ledger",
        "Nothing is lost: workers keep records until the ledger has them. Run `keyferry doctor` to find the cause",
    )


async def _fetch_once(operator: OperatorConnection, tenant: str, request_id: str) -> RequestTrace:
    decision, attempts = await asyncio.gather(
        operator.ask(DECISION_GET, GetDecision(tenant=tenant, request_id=request_id)),
        operator.ask(ATTEMPT_LIST, GetAttempts(tenant=tenant, request_id=request_id)),
    )
    return RequestTrace(tenant, request_id, decision.record, attempts.rows, decision.later)
