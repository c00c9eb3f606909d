"""Frames are sent in order, the first at once, later ones in batches, and never beyond the caller's credit."""

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


def make_writer(credit_bytes: int = 1_000_000) -> tuple[FrameWriter, Inbox]:
    inbox = Inbox()
    return FrameWriter("att_1", inbox.publish, credit_bytes), inbox


async def test_the_first_delta_is_sent_at_once_and_the_next_ones_in_batches() -> None:
    writer, inbox = make_writer()
    await writer.write_deltas([b"one"])
    assert inbox.payloads == [b"one"]
    for number in range(COALESCE_DELTAS):
        await writer.write_deltas([b"%d" % number])
    assert inbox.payloads == [b"one", b"0\n1\n2\n3"]


async def test_a_pause_flushes_what_waits() -> None:
    writer, inbox = make_writer()
    await writer.write_deltas([b"one"])
    inbox.arrived.clear()
    await writer.write_deltas([b"two"])
    await asyncio.wait_for(inbox.arrived.wait(), 5)
    assert inbox.payloads == [b"one", b"two"]


async def test_the_end_counts_the_data_frames_and_flushes_first() -> None:
    writer, inbox = make_writer()
    await writer.write_deltas([b"one"])
    await writer.write_deltas([b"two"])
    await writer.end(Outcome.COMPLETED)
    end = inbox.frames[-1]
    assert isinstance(end, frames.End)
    assert end.count == 2
    assert [frame.seq for frame in inbox.frames if isinstance(frame, frames.Data)] == [1, 2]


async def test_a_large_body_is_split_into_frames() -> None:
    writer, inbox = make_writer(10_000_000)
    body = bytes(range(256)) * 3000
    await writer.end(Outcome.COMPLETED, body=body)
    end = inbox.frames[-1]
    assert isinstance(end, frames.End)
    assert b"".join(inbox.payloads) + end.payload == body
    assert all(len(payload) <= frames.MAX_PAYLOAD_BYTES for payload in inbox.payloads)


async def test_no_frame_is_larger_than_a_payload_may_be() -> None:
    writer, inbox = make_writer(10_000_000)
    half = frames.MAX_PAYLOAD_BYTES // 2
    for size in (half - 1, half, half + 1):
        await writer.write_deltas([b"a" * half, b"b" * size, b"c"])
    assert all(len(payload) <= frames.MAX_PAYLOAD_BYTES for payload in inbox.payloads)


async def test_nothing_is_sent_beyond_the_credit_until_more_is_granted() -> None:
    writer, inbox = make_writer(credit_bytes=10)
    sending = asyncio.ensure_future(_send_all(writer, [b"xx"] * 5))
    for expected in range(1, 6):
        while len(inbox.payloads) < expected:
            inbox.arrived.clear()
            await asyncio.wait_for(inbox.arrived.wait(), 5)
        assert len(inbox.payloads) == expected
        assert not sending.done() or expected == 5
        writer.grant(10)
    await sending
    assert [frame.seq for frame in inbox.frames if isinstance(frame, frames.Data)] == [1, 2, 3, 4, 5]


async def _send_all(writer: FrameWriter, texts: list[bytes]) -> None:
    for text in texts:
        await writer.write_deltas([text] * COALESCE_DELTAS)


async def test_a_caller_that_grants_no_credit_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_writer, "STALLED_SECONDS", 0.05)
    writer, _ = make_writer(credit_bytes=1)
    await writer.write_deltas([b"xx"])
    with pytest.raises(CallerStalled):
        await writer.end(Outcome.COMPLETED, body=b"y" * (frames.MAX_PAYLOAD_BYTES + 1))


async def test_nothing_follows_texts_that_were_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_writer, "STALLED_SECONDS", 0.05)
    writer, inbox = make_writer(credit_bytes=1)
    await writer.write_deltas([b"one"])
    await writer.write_deltas([b"two"])  # is flushed in the background, and stalls there
    async with asyncio.timeout(10):
        while writer._broken is None:  # noqa: ASYNC110 - it happens in a background task
            await asyncio.sleep(0.005)
    writer.grant(1000)
    with pytest.raises(CallerStalled):
        await writer.write_deltas([b"three"] * COALESCE_DELTAS)
    with pytest.raises(CallerStalled):
        await writer.end(Outcome.COMPLETED)
    assert inbox.payloads == [b"one"]


async def test_a_stalled_caller_still_gets_the_end_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_writer, "STALLED_SECONDS", 0.05)
    writer, inbox = make_writer(credit_bytes=1)
    with pytest.raises(CallerStalled):
        await _send_all(writer, [b"xx"] * 3)
    failure = Failure(failure_class=FailureClass.CANCELLED, message="the caller stopped taking the answer")
    await writer.end(Outcome.CANCELLED, failure)
    end = inbox.frames[-1]
    assert isinstance(end, frames.End)
    assert end.failure == failure
