"""What clients saw, what the provider saw and what the ledger recorded, compared with each other.

The three are independent: clients keep their own bytes, the provider writes its own log, the ledger has its table.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Protocol

import psycopg

from tests.support.clients.stream_clients import ClientResponse
from tests.support.ledger.attempts_table import LedgerAttempt, LedgerTable
from tests.support.providers.scripted_answers import chat_calls, script_of
from tests.support.providers.upstream import Call
from tests.support.waiting import until

_ANSWERED = ("http_status", "http_200_body", "mid_stream")
"""Where a failure shows only if the provider has answered."""


class ProviderLog(Protocol):
    """A provider that keeps its calls, in this process or in another."""

    @property
    def calls(self) -> list[Call]: ...


def disagreements(
    endings: Mapping[str, ClientResponse], calls: Mapping[str, int], attempts: Mapping[str, list[LedgerAttempt]]
) -> Iterator[str]:
    """Describe every inconsistency. Responses, calls and attempts are keyed by the client's name for its request.

    Each request has one endpoint to go to and may be paid once: so at most one call, exactly one attempt for a call, exactly
    one completed attempt for a whole answer, and no attempt that claims an answer which no call can have given. An attempt
    without a call is one that ended, or whose worker died, before anything was sent.
    """
    for name in {*endings, *calls, *attempts}:
        made = attempts.get(name, [])
        seen = calls.get(name, 0)
        completed = sum(attempt.outcome == "completed" for attempt in made)
        answered = completed + sum(attempt.outcome == "failed" and attempt.where in _ANSWERED for attempt in made)
        if seen > 1:
            yield f"{name} was paid {seen} times"
        if len(made) < seen:
            yield f"{name} was called {seen} times and has {len(made)} attempts"
        if answered > seen:
            yield f"{name} has {answered} attempts that were answered and {seen} calls"
        if completed > 1:
            yield f"{name} is completed {completed} times"
        if name in endings and endings[name].whole and completed != 1:
            yield f"{name} was delivered whole and has {completed} completed attempts"


def wait_until_accounted(
    endings: Mapping[str, ClientResponse], upstream: ProviderLog, ledger: LedgerTable, timeout_seconds: float = 60.0
) -> dict[str, list[LedgerAttempt]]:
    """Wait until clients, provider and ledger agree on these requests. Return their attempts."""
    attempts: dict[str, list[LedgerAttempt]] = {}
    found: list[str] = ["the ledger cannot be read"]
    seen: list[Call] = []
    called: list[str] = []

    def agreed() -> bool:
        nonlocal attempts, found
        try:
            attempts = _by_name(endings, ledger)
        except psycopg.OperationalError:
            return False
        fresh = upstream.calls[len(seen) :]
        seen.extend(fresh)
        called.extend(script_of(call.request.body).name for call in chat_calls(fresh))
        found = list(disagreements(endings, Counter(name for name in called if name in endings), attempts))
        return not found

    try:
        until("clients, provider and ledger agree", agreed, timeout_seconds)
    except AssertionError:
        raise AssertionError("; ".join(found[:20])) from None
    return attempts


def _by_name(endings: Mapping[str, ClientResponse], ledger: LedgerTable) -> dict[str, list[LedgerAttempt]]:
    made: dict[str, list[LedgerAttempt]] = defaultdict(list)
    for attempt in ledger.of_operations(list(endings)):
        assert attempt.operation is not None
        made[attempt.operation].append(attempt)
    return made
