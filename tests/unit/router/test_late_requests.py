"""A request that no worker could start in time is not planned."""

import time

import pytest

from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.frames import RequestRefused, decode
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.tracing.telemetry import Telemetry
from services.router.fallback.memory import FallbackMemory
from services.router.handlers import RequestHandlers
from tests.support.router.credit import request_credit
from tests.support.router.limits import MemoryCounters, limiter, run_beside
from tests.unit.router.test_handlers import context


@pytest.mark.parametrize(("start_in_ms", "decided"), [(1000, True), (-1, False)])
async def test_only_a_request_that_can_still_start_is_decided(start_in_ms: int, decided: bool) -> None:
    sent: list[tuple[str, bytes]] = []

    async def publish(subject: str, data: bytes, reply: str) -> None:
        sent.append((subject, data))

    decisions = BatchPublisher(lambda: pytest.fail("nothing is published"), "decisions", producer="router")
    handlers = RequestHandlers(
        fallback=FallbackMemory(),
        router="router",
        context_of=context,
        limiter=limiter(MemoryCounters().add),
        credit=request_credit(),
        cancel_probe=lambda _: None,
        publish=publish,
        spawn=run_beside,
        decisions=decisions,
        telemetry=Telemetry("router"),
    )
    start_by = time.time_ns() // 1_000_000 + start_in_ms
    head = ChatRequest(
        request_id="req_1", tenant="acme", model="x", stream=False, deadline_ms=9, start_by_unix_ms=start_by
    )
    await handlers.on_request(ReceivedMessage(head, b"{}", "subject", "inbox", time.perf_counter_ns()))
    assert [isinstance(decode(data), RequestRefused) for _, data in sent] == [True] * decided
