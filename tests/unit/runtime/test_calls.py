"""Requests over a scripted connection: resending, credit, cancelling, losing a worker."""

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError

from keyferry.contracts import frames
from keyferry.contracts.chat import ChatRequest, Control, ControlKind, ProbeReply
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.fallback import may_be_charged
from keyferry.contracts.usage import KeySource, Outcome
from keyferry.runtime.request import call as calls
from keyferry.runtime.request import inbox as inboxes
from keyferry.runtime.request import liveness
from keyferry.runtime.request.assembly import CallFailed
from keyferry.runtime.request.call import Call, CallAbandoned
from keyferry.runtime.request.inbox import CallInbox


class ScriptedClient:
    """A fake connection: records publications, and delivers what the test says."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes, str]] = []
        self.sent = asyncio.Event()
        self.is_connected = True
        self.stats = {"reconnects": 0}
        self.servers = ["nats://a:1"]
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.late: list[bytes] = []
        """Frames that arrive with the answer to a flush: they were under way during a freeze."""
        self.on_frame: Callable[[Any], Any] | None = None
        self.probe: Callable[[], bytes] = lambda: ProbeReply(unknown=[]).encode()

    async def subscribe(self, subject: str, cb: Callable[[Any], Any]) -> Any:
        self.on_frame = cb
        return SimpleNamespace(pending_msgs=0)

    async def flush(self, timeout: float) -> None:
        await self.thawed.wait()
        for frame in self.late:
            await self.deliver(frame)

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        self.published.append((subject, data, reply))
        self.sent.set()

    async def request(self, subject: str, data: bytes, timeout: float) -> Any:
        return SimpleNamespace(data=self.probe())

    async def deliver(self, frame: bytes, headers: dict[str, str] | None = None, inbox: str | None = None) -> None:
        assert self.on_frame is not None
        await self.on_frame(SimpleNamespace(subject=inbox or self.inbox, data=frame, headers=headers))

    @property
    def inbox(self) -> str:
        return next(reply for _, _, reply in self.published if reply)

    def requests(self) -> list[ChatRequest]:
        return [ChatRequest.split(data)[0] for subject, data, _ in self.published if subject.startswith("kf.v1.chat")]

    def controls(self, kind: ControlKind) -> list[Control]:
        controls = [Control.decode(data) for subject, data, _ in self.published if ".worker.control." in subject]
        return [control for control in controls if control.kind is kind]


@pytest.fixture
def client() -> ScriptedClient:
    return ScriptedClient()


@pytest.fixture
async def caller(client: ScriptedClient, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(liveness, "_PROBE_EVERY_SECONDS", 0.02)
    made = CallInbox(cast(Client, client), "_INBOX_test", "inst_caller")
    await made.start()
    yield made
    await made.stop()


def head(deadline_ms: int = 20_000) -> ChatRequest:
    return ChatRequest(
        request_id="req_1", tenant="acme", model="m", stream=True, deadline_ms=deadline_ms, start_by_unix_ms=0
    )


def accepted(attempt: str = "att_1", number: int = 1, boot: str = "inst_w") -> bytes:
    return frames.Accepted(
        attempt_id=attempt,
        instance_id=boot,
        attempt_number=number,
        decision_id="dec_1",
        provider="custom",
        model="m",
        key_source=KeySource.CUSTOM,
    ).to_frame()


def end(count: int) -> bytes:
    return frames.End(attempt_id="att_1", outcome=Outcome.COMPLETED, count=count).to_frame()


async def started(caller: CallInbox, deadline_ms: int = 20_000) -> Call:
    call = caller.call(head(deadline_ms), b"{}")
    await call.start()
    return call


async def test_an_answer_arrives_in_pieces(caller: CallInbox, client: ScriptedClient) -> None:
    call = await started(caller)
    for frame in (accepted(), frames.data_frame("att_1", 1, b"a"), end(1)):
        await client.deliver(frame)
    first, last = await call.next_piece(), await call.next_piece()
    assert first is not None
    assert (first.payload, first.last) == (b"a", False)
    assert last is not None
    assert last.last
    assert caller.open_calls == 0


async def test_a_missing_router_is_reported_at_once(caller: CallInbox, client: ScriptedClient) -> None:
    call = await started(caller)
    await client.deliver(b"", {"Status": "503"})
    with pytest.raises(CallFailed) as failed:
        await call.next_piece()
    assert failed.value.failure.failure_class is FailureClass.UNAVAILABLE
    assert not may_be_charged(failed.value.failure)


async def test_a_router_that_is_missing_after_a_failed_attempt_does_not_invite_to_pay_again(
    caller: CallInbox, client: ScriptedClient
) -> None:
    call = await started(caller)
    await client.deliver(accepted())
    await client.deliver(b"", {"Status": "503"})
    with pytest.raises(CallFailed, match="no router is running") as failed:
        await call.next_piece()
    assert may_be_charged(failed.value.failure)


def resend_after_ms(milliseconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let unanswered requests be sent again after so long."""
    monkeypatch.setattr(calls, "start_within_ms", lambda body_bytes: milliseconds)
    monkeypatch.setattr(calls, "_RESEND_MARGIN_MS", 0)


async def test_a_large_body_has_more_time_to_start(
    caller: CallInbox, client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 7_000_000_000)
    for body in (b"{}", b" " * 4 * 1024 * 1024):
        await caller.call(head(), body).start()
    assert [sent.start_by_unix_ms for sent in client.requests()] == [8_000, 10_048]


async def test_an_unanswered_request_is_sent_exactly_once_more(
    caller: CallInbox, client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    resend_after_ms(30, monkeypatch)
    call = await started(caller)
    with pytest.raises(CallFailed) as failed:
        await call.next_piece()
    assert failed.value.failure.failure_class is FailureClass.UNAVAILABLE
    first, second = client.requests()
    assert first.request_id == second.request_id
    assert second.start_by_unix_ms > first.start_by_unix_ms
    assert second.deadline_ms < first.deadline_ms


async def test_a_request_is_not_resent_over_another_connection(
    caller: CallInbox, client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    resend_after_ms(30, monkeypatch)
    call = caller.call(head(), b"{}")
    await call.start()
    client.stats["reconnects"] += 1
    with pytest.raises(CallFailed, match="the bus went away before") as failed:
        await call.next_piece()
    assert failed.value.failure.failure_class is FailureClass.UNAVAILABLE
    assert may_be_charged(failed.value.failure)
    assert len(client.requests()) == 1, (
        "a worker that accepted the request before the connection broke would call the provider twice"
    )


async def test_an_accepted_request_is_never_resent(
    caller: CallInbox, client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    resend_after_ms(10, monkeypatch)
    call = await started(caller, deadline_ms=200)
    await client.deliver(accepted())
    with pytest.raises(CallFailed) as failed:
        await call.next_piece()
    assert failed.value.failure.failure_class is FailureClass.EXPIRED
    assert may_be_charged(failed.value.failure)
    assert len(client.requests()) == 1
    assert len(client.controls(ControlKind.CANCEL)) == 1


async def test_a_late_acceptance_is_read_before_resending(
    caller: CallInbox, client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    resend_after_ms(10, monkeypatch)
    call = await started(caller)
    client.late = [accepted(), frames.data_frame("att_1", 1, b"a")]
    piece = await call.next_piece()
    assert piece is not None
    assert piece.payload == b"a"
    assert len(client.requests()) == 1


async def test_a_frozen_bus_ends_the_wait_without_resending(
    caller: CallInbox, client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    resend_after_ms(10, monkeypatch)
    monkeypatch.setattr(inboxes, "_BUS_TIMEOUT_SECONDS", 0.05)
    client.thawed.clear()
    call = await started(caller)
    with pytest.raises(CallFailed, match="the bus does not answer") as failed:
        await call.next_piece()
    assert may_be_charged(failed.value.failure)
    assert len(client.requests()) == 1
    client.thawed.set()


async def test_a_worker_that_sends_frames_is_alive_without_answering_probes(
    caller: CallInbox, client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "_FROZEN_SECONDS", 0.1)
    asked = 0

    def overloaded() -> bytes:
        nonlocal asked
        asked += 1
        raise TimeoutError

    client.probe = overloaded
    silent = await started(caller)
    await client.deliver(accepted("att_1"))
    waiting = asyncio.ensure_future(silent.next_piece())
    talking = await started(caller)
    await client.deliver(accepted("att_2"), inbox=client.published[-1][2])
    seq = 0
    while asked < 20:
        seq += 1
        await client.deliver(frames.data_frame("att_2", seq, b"a"), inbox=caller.subject(talking._token))
        await talking.next_piece()
        await asyncio.sleep(0.005)
    assert not waiting.done()
    await client.deliver(end(0))
    assert (await waiting) is not None


async def test_a_timeout_does_not_end_the_call(caller: CallInbox, client: ScriptedClient) -> None:
    call = await started(caller)
    assert await call.next_piece(timeout_seconds=0.01) is None
    await client.deliver(accepted())
    await client.deliver(end(0))
    piece = await call.next_piece(timeout_seconds=5)
    assert piece is not None
    assert piece.last


async def test_credit_is_granted_when_half_of_it_is_consumed(caller: CallInbox, client: ScriptedClient) -> None:
    call = await started(caller)
    granted_first = client.requests()[0].credit_bytes
    await client.deliver(accepted())
    half = b"x" * (granted_first // 2)
    for seq in (1, 2):
        await client.deliver(frames.data_frame("att_1", seq, half))
    await call.next_piece()
    assert client.controls(ControlKind.CREDIT) == []
    await call.next_piece()
    assert [control.credit_bytes for control in client.controls(ControlKind.CREDIT)] == [len(half)]


async def test_many_calls_share_the_credit_of_a_process(caller: CallInbox, client: ScriptedClient) -> None:
    open_calls = [await started(caller) for _ in range(2000)]
    granted = [request.credit_bytes for request in client.requests()]
    assert sum(granted) <= inboxes.MAX_CREDIT_BYTES + len(granted) * inboxes.MIN_CREDIT_BYTES
    assert min(granted) >= inboxes.MIN_CREDIT_BYTES
    for call in open_calls:
        call.close()
    assert (await started(caller)).granted_bytes == granted[0], "credit of closed calls is available again"


async def test_abandoning_before_acceptance_cancels_the_accepting_worker(
    caller: CallInbox, client: ScriptedClient
) -> None:
    call = await started(caller)
    call.abandon()
    with pytest.raises(CallAbandoned):
        await call.next_piece()
    await call.cancel()
    assert client.controls(ControlKind.CANCEL) == []
    client.sent.clear()
    await client.deliver(accepted())
    await asyncio.wait_for(client.sent.wait(), 5)
    assert [control.attempt_id for control in client.controls(ControlKind.CANCEL)] == ["att_1"]


async def test_cancelling_during_a_reroute_cancels_the_next_attempt_too(
    caller: CallInbox, client: ScriptedClient
) -> None:
    call = await started(caller)
    await client.deliver(accepted())
    assert await call.next_piece(timeout_seconds=0.01) is None
    await call.cancel()
    client.sent.clear()
    await client.deliver(accepted("att_2", number=2, boot="inst_x"))
    await asyncio.wait_for(client.sent.wait(), 5)
    assert [control.attempt_id for control in client.controls(ControlKind.CANCEL)] == ["att_1", "att_2"]
    ended = frames.End(attempt_id="att_2", outcome=Outcome.CANCELLED, count=0)
    await client.deliver(ended.to_frame())
    assert caller.open_calls == 0


async def test_a_cancelled_call_closes_when_no_worker_can_accept_it_any_more(
    caller: CallInbox, client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    resend_after_ms(20, monkeypatch)
    call = await started(caller)
    await client.deliver(accepted())
    await call.cancel()
    async with asyncio.timeout(10):
        while caller.open_calls:  # noqa: ASYNC110 - the caller has no event for it
            await asyncio.sleep(0.005)
    await client.deliver(accepted("att_2", number=2))
    assert len(client.controls(ControlKind.CANCEL)) == 1


async def test_a_gap_in_the_answer_cancels_the_worker(caller: CallInbox, client: ScriptedClient) -> None:
    call = await started(caller)
    await client.deliver(accepted())
    await client.deliver(frames.data_frame("att_1", 2, b"b"))
    with pytest.raises(CallFailed) as failed:
        await call.next_piece()
    assert failed.value.failure.failure_class is FailureClass.TRUNCATED
    assert [control.attempt_id for control in client.controls(ControlKind.CANCEL)] == ["att_1"]


async def test_abandoning_with_an_unread_acceptance_cancels_the_worker(
    caller: CallInbox, client: ScriptedClient
) -> None:
    call = await started(caller)
    await client.deliver(accepted())
    call.abandon()
    with pytest.raises(CallAbandoned):
        await call.next_piece()
    await call.cancel()
    assert [control.attempt_id for control in client.controls(ControlKind.CANCEL)] == ["att_1"]


async def test_a_dead_worker_is_detected_and_the_call_fails(caller: CallInbox, client: ScriptedClient) -> None:
    def dead() -> bytes:
        raise NoRespondersError

    client.probe = dead
    call = await started(caller)
    await client.deliver(accepted())
    await client.deliver(frames.data_frame("att_1", 1, b"a"))
    await call.next_piece()
    with pytest.raises(CallFailed) as failed:
        await asyncio.wait_for(call.next_piece(), 10)
    assert failed.value.failure.failure_class is FailureClass.INDETERMINATE
    assert failed.value.failure.where is Where.MID_STREAM


async def test_a_worker_that_lost_the_attempt_is_probed_twice(caller: CallInbox, client: ScriptedClient) -> None:
    asked = 0

    def forgetful() -> bytes:
        nonlocal asked
        asked += 1
        return ProbeReply(unknown=["att_1"]).encode()

    client.probe = forgetful
    call = await started(caller)
    await client.deliver(accepted())
    with pytest.raises(CallFailed, match="lost the request"):
        await asyncio.wait_for(call.next_piece(), 10)
    assert asked >= 2


async def test_doubts_in_a_row_end_a_call_and_others_do_not(caller: CallInbox, client: ScriptedClient) -> None:
    call = await started(caller)
    await client.deliver(accepted())
    for seq in (1, 2, 3):
        call.doubt()
        await client.deliver(frames.data_frame("att_1", seq, b"a"))
        assert await call.next_piece(0) is not None
    assert await call.next_piece(0) is None, "each doubt was answered by a frame"
    call.doubt()
    call.doubt()
    with pytest.raises(CallFailed, match="lost the request"):
        await call.next_piece(0)


async def test_a_silent_worker_that_has_the_attempt_is_trusted(caller: CallInbox, client: ScriptedClient) -> None:
    asked = asyncio.Event()
    count = 0

    def patient() -> bytes:
        nonlocal count
        count += 1
        if count > 3:
            asked.set()
        return ProbeReply(unknown=[]).encode()

    client.probe = patient
    call = await started(caller)
    await client.deliver(accepted())
    waiting = asyncio.ensure_future(call.next_piece())
    await asyncio.wait_for(asked.wait(), 10)
    assert not waiting.done()
    await client.deliver(end(0))
    assert (await waiting) is not None


async def test_losing_all_calls_fails_them_and_cancels_their_workers(caller: CallInbox, client: ScriptedClient) -> None:
    call = await started(caller)
    await client.deliver(accepted())
    caller.lose_all("it ends")
    with pytest.raises(CallFailed, match="it ends"):
        await call.next_piece()
    assert [control.attempt_id for control in client.controls(ControlKind.CANCEL)] == ["att_1"]
