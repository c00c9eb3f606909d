"""What the ledger knows of one request: its decision and its attempts, waited for until they are there."""

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
    """One request as the ledger tells it. `decision` is None and `attempts` lacks rows for what has not arrived."""

    tenant: str
    request_id: str
    decision: DecisionRecord | None
    attempts: list[LedgerRow]
    later: list[DecisionRecord] = field(default_factory=list)
    """The decisions after attempts that failed, in order."""

    @property
    def trace_id(self) -> str | None:
        """The trace of the request, 32 hex digits."""
        of_attempts = next((row.trace_id for row in self.attempts if row.trace_id), None)
        return of_attempts or trace_id(self.decision.traceparent if self.decision else None)

    def missing(self, expected_attempts: int) -> list[str]:
        """What has not arrived in the ledger; nothing when the story is whole."""
        lacking = [] if self.decision is not None else ["the decision record"]
        if len(self.attempts) < expected_attempts:
            lacking.append("the attempt's row" if expected_attempts == 1 else "the rows of the attempts")
        return lacking


async def fetch_trace(
    operator: OperatorConnection,
    tenant: str,
    request_id: str,
    expected_attempts: int,
    within_seconds: float = TRACE_TIMEOUT_SECONDS,
) -> RequestTrace:
    """Ask the ledger until the story is whole, or until `within_seconds` are over: then what there is.

    Raises Refused for the ledger's refusal, and BusError when it never answered.
    """
    give_up = time.monotonic() + within_seconds
    polls = 0
    while True:
        late = time.monotonic() >= give_up
        try:
            trace = await _ask(operator, tenant, request_id)
        except BusError:
            if late:
                raise
        else:
            if late or not trace.missing(expected_attempts):
                return trace
        await asyncio.sleep(_POLLING.delay_seconds(polls))
        polls += 1


def incomplete_trace(missing: list[str], within_seconds: float = TRACE_TIMEOUT_SECONDS) -> Problem:
    """What a person is told when the ledger does not have everything in time."""
    return Problem(
        f"after {within_seconds:g} s {' and '.join(missing)} of this request had not reached the ledger",
        "Nothing is lost: workers keep records until the ledger has them. `keyferry doctor` tells what is in the way",
    )


async def _ask(operator: OperatorConnection, tenant: str, request_id: str) -> RequestTrace:
    decision, attempts = await asyncio.gather(
        operator.ask(DECISION_GET, GetDecision(tenant=tenant, request_id=request_id)),
        operator.ask(ATTEMPT_LIST, GetAttempts(tenant=tenant, request_id=request_id)),
    )
    return RequestTrace(tenant, request_id, decision.record, attempts.rows, decision.later)
