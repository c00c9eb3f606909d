"""In a cluster of NATS servers a caller confirms one attempt at a time, so that a request that was sent twice is paid once."""

import asyncio
import time
from typing import Any

import pytest

from keyferry.contracts import frames
from keyferry.contracts.chat import ControlKind
from keyferry.contracts.usage import KeySource
from keyferry.runtime.request.inbox import CallInbox
from tests.support.waiting import eventually
from tests.unit.runtime.test_calls import ScriptedClient, caller, client, end, started

__all__ = ["caller", "client"]  # fixtures


def acceptance(attempt: str, number: int = 1, **changes: Any) -> bytes:
    values = {"awaits_start": True, **changes}
    return frames.Accepted(
        attempt_id=attempt,
        instance_id=f"inst_{attempt}",
        attempt_number=number,
        decision_id="dec_1",
        provider="custom",
        model="m",
        key_source=KeySource.CUSTOM,
        **values,
    ).to_frame()


def attempts(client: ScriptedClient, kind: ControlKind) -> list[str]:
    return [control.attempt_id for control in client.controls(kind)]


@pytest.mark.parametrize(("servers", "confirms"), [(1, False), (2, True), (3, True)])
async def test_several_servers_make_a_worker_wait_for_the_confirmation(
    caller: CallInbox, client: ScriptedClient, servers: int, confirms: bool
) -> None:
    client.servers = [f"nats://{number}:1" for number in range(servers)]
    await started(caller)
    assert [request.confirm_start for request in client.requests()] == [confirms]


async def test_of_a_request_that_was_sent_twice_the_attempt_is_confirmed_that_was_accepted_first(
    caller: CallInbox, client: ScriptedClient
) -> None:
    call = await started(caller)
    call._resend_at = time.monotonic()
    reading = asyncio.ensure_future(call.next_piece())
    await eventually("it is sent again", lambda: call.sends == 2)
    await client.deliver(acceptance("att_2"))
    await client.deliver(acceptance("att_1"))
    await client.deliver(frames.data_frame("att_2", 1, b"a"))
    piece = await reading
    assert piece is not None
    assert piece.payload == b"a"
    await eventually("the other one is cancelled", lambda: attempts(client, ControlKind.CANCEL) == ["att_1"])
    assert attempts(client, ControlKind.START) == ["att_2"]


async def test_each_attempt_of_a_request_that_falls_back_is_confirmed(
    caller: CallInbox, client: ScriptedClient
) -> None:
    call = await started(caller)
    await client.deliver(acceptance("att_0"))
    await client.deliver(acceptance("att_1", 2, earlier_attempts=["att_0"]))
    await client.deliver(end(0))
    assert (await call.next_piece()) is not None
    await eventually("both are confirmed", lambda: attempts(client, ControlKind.START) == ["att_0", "att_1"])


async def test_a_fallback_of_the_other_copy_of_a_request_is_cancelled(
    caller: CallInbox, client: ScriptedClient
) -> None:
    """The request was sent twice, and the second copy fell back before its first attempt could be cancelled."""
    call = await started(caller)
    await client.deliver(acceptance("att_1"))
    await client.deliver(acceptance("att_9", 2, earlier_attempts=["att_8"], awaits_start=False))  # it is delayed
    await client.deliver(acceptance("att_9", 2, earlier_attempts=["att_8"]))
    await client.deliver(acceptance("att_2", 2, earlier_attempts=["att_1"]))
    await client.deliver(frames.data_frame("att_2", 1, b"a"))
    piece = await call.next_piece()
    assert piece is not None
    assert piece.payload == b"a"
    await eventually("the other one is cancelled", lambda: attempts(client, ControlKind.CANCEL) == ["att_9"])
    assert attempts(client, ControlKind.START) == ["att_1", "att_2"]


async def test_an_abandoned_call_confirms_nothing(caller: CallInbox, client: ScriptedClient) -> None:
    call = await started(caller)
    await call.cancel()
    await client.deliver(acceptance("att_1"))
    await eventually("it is cancelled", lambda: attempts(client, ControlKind.CANCEL) == ["att_1"])
    assert attempts(client, ControlKind.START) == []


async def test_a_worker_that_does_not_wait_is_not_confirmed(caller: CallInbox, client: ScriptedClient) -> None:
    """A worker of an earlier build knows no confirmation."""
    call = await started(caller)
    await client.deliver(acceptance("att_1", awaits_start=False))
    await client.deliver(end(0))
    assert (await call.next_piece()) is not None
    assert attempts(client, ControlKind.START) == []
