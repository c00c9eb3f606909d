"""Frames leave in order, the first at once, later ones together, and never beyond what the caller granted."""

import asyncio

import pytest

from keyferry.contracts import frames
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.usage import Outcome
from services.provider_worker import frame_writer
from services.provider_worker.frame_writer import COALESCE_DELTAS, CallerStalled, FrameWriter


class Inbox:
    """What the caller's inbox receives."""

    def __init__(self) -> None:
        self.frames: list[frames.Frame] = []
        self.arrived = asyncio.Event()

    async def publish(self, data: bytes) -> None:
        self.frames.append(frames.decode(data))
        self.arrived.set()

    @property
    def payloads(self) -> list[bytes]:
        return [frame.payload for frame in self.frames if isinstance(frame, frames.Data)]


def made(credit_bytes: int = 1_000_000) -> tuple[FrameWriter, Inbox]:
    inbox = Inbox()
    return FrameWriter("att_1", inbox.publish, credit_bytes), inbox


async def test_the_first_delta_goes_at_once_and_the_next_ones_together() -> None:
    delivery, inbox = made()
    await delivery.write_deltas([b"one"])
    assert inbox.payloads == [b"one"]
    for number in range(COALESCE_DELTAS):
        await delivery.write_deltas([b"%d" % number])
    assert inbox.payloads == [b"one", b"0\n1\n2\n3"]


async def test_a_pause_flushes_what_waits() -> None:
    delivery, inbox = made()
    await delivery.write_deltas([b"one"])
    inbox.arrived.clear()
    await delivery.write_deltas([b"two"])
    await asyncio.wait_for(inbox.arrived.wait(), 5)
    assert inbox.payloads == [b"one", b"two"]


async def test_the_end_counts_the_data_frames_and_flushes_first() -> None:
    delivery, inbox = made()
    await delivery.write_deltas([b"one"])
    await delivery.write_deltas([b"two"])
    await delivery.end(Outcome.COMPLETED)
    end = inbox.frames[-1]
    assert isinstance(end, frames.End)
    assert end.count == 2
    assert [frame.seq for frame in inbox.frames if isinstance(frame, frames.Data)] == [1, 2]


async def test_a_large_body_is_cut_into_frames_that_join_to_it() -> None:
    delivery, inbox = made(10_000_000)
    body = bytes(range(256)) * 3000
    await delivery.end(Outcome.COMPLETED, body=body)
    end = inbox.frames[-1]
    assert isinstance(end, frames.End)
    assert b"".join(inbox.payloads) + end.payload == body
    assert all(len(payload) <= frames.MAX_PAYLOAD_BYTES for payload in inbox.payloads)


async def test_nothing_is_sent_beyond_the_credit_until_more_is_granted() -> None:
    delivery, inbox = made(credit_bytes=10)
    sending = asyncio.ensure_future(_send_all(delivery, [b"xx"] * 5))
    for expected in range(1, 6):
        while len(inbox.payloads) < expected:
            inbox.arrived.clear()
            await asyncio.wait_for(inbox.arrived.wait(), 5)
        assert len(inbox.payloads) == expected
        assert not sending.done() or expected == 5
        delivery.grant(10)
    await sending
    assert [frame.seq for frame in inbox.frames if isinstance(frame, frames.Data)] == [1, 2, 3, 4, 5]


async def _send_all(delivery: FrameWriter, texts: list[bytes]) -> None:
    for text in texts:
        await delivery.write_deltas([text] * COALESCE_DELTAS)


async def test_a_caller_that_grants_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_writer, "STALLED_SECONDS", 0.05)
    delivery, _ = made(credit_bytes=1)
    await delivery.write_deltas([b"xx"])
    with pytest.raises(CallerStalled):
        await delivery.end(Outcome.COMPLETED, body=b"y" * (frames.MAX_PAYLOAD_BYTES + 1))


async def test_texts_that_were_given_up_are_never_followed_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_writer, "STALLED_SECONDS", 0.05)
    delivery, inbox = made(credit_bytes=1)
    await delivery.write_deltas([b"one"])
    await delivery.write_deltas([b"two"])  # is flushed in the background, and starves there
    async with asyncio.timeout(10):
        while delivery._broken is None:  # noqa: ASYNC110 - it happens beside every caller
            await asyncio.sleep(0.005)
    delivery.grant(1000)
    with pytest.raises(CallerStalled):
        await delivery.write_deltas([b"three"] * COALESCE_DELTAS)
    with pytest.raises(CallerStalled):
        await delivery.end(Outcome.COMPLETED)
    assert inbox.payloads == [b"one"]


async def test_a_starved_caller_is_still_told_how_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_writer, "STALLED_SECONDS", 0.05)
    delivery, inbox = made(credit_bytes=1)
    with pytest.raises(CallerStalled):
        await _send_all(delivery, [b"xx"] * 3)
    failure = Failure(failure_class=FailureClass.CANCELLED, message="the caller stopped taking the answer")
    await delivery.end(Outcome.CANCELLED, failure)
    end = inbox.frames[-1]
    assert isinstance(end, frames.End)
    assert end.failure == failure
