"""Frames are decoded as they were encoded, and other bytes are rejected."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keyferry.contracts import frames, ids
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import KeySource, Outcome

ATTEMPT = ids.new(ids.ATTEMPT)
FAILURE = Failure(failure_class=FailureClass.SERVER, message="the provider\nfailed")
PAYLOADS = st.binary(max_size=2000)


@given(st.integers(min_value=1, max_value=2**53), PAYLOADS)
@example(1, b"")
@example(1, b"\n\nD x 1\n")
def test_data(seq: int, payload: bytes) -> None:
    frame = frames.Data(attempt_id=ATTEMPT, seq=seq, payload=payload)
    assert frames.decode(frame.to_frame()) == frame
    assert frames.data_frame(ATTEMPT, seq, payload) == frame.to_frame()


@given(st.sampled_from(Outcome), st.integers(min_value=0, max_value=BIGINT_MAX), st.none() | st.just(FAILURE), PAYLOADS)
def test_end(outcome: Outcome, count: int, failure: Failure | None, payload: bytes) -> None:
    frame = frames.End(attempt_id=ATTEMPT, outcome=outcome, count=count, failure=failure, payload=payload)
    read = frames.decode(frame.to_frame())
    assert read == frame
    assert isinstance(read, frames.End)
    assert read.payload == payload


def test_accepted() -> None:
    frame = frames.Accepted(
        attempt_id=ATTEMPT,
        instance_id=ids.new(ids.INSTANCE),
        attempt_number=1,
        decision_id=ids.new(ids.DECISION),
        provider="openai",
        model="gpt-x",
        key_source=KeySource.BYOK,
    )
    assert frames.decode(frame.to_frame()) == frame


@pytest.mark.parametrize("decision", [None, ids.new(ids.DECISION)], ids=["before deciding", "decided"])
def test_refused(decision: str | None) -> None:
    frame = frames.RequestRefused(request_id=ids.new(ids.REQUEST), decision_id=decision, failure=FAILURE)
    assert frames.decode(frame.to_frame()) == frame


@given(
    st.binary(max_size=200)
    | st.builds(lambda tag, rest: tag + rest, st.sampled_from([b"A", b"D", b"E", b"R"]), st.binary())
)
@example(b"D\xff 1\npayload")
@example(b"D" + ATTEMPT.encode() + b" " + b"9" * 5000 + b"\n")
@example(b"D" + ATTEMPT.encode() + b" 0\n")
@example(b"D 1\n")
@example(b"D" + ATTEMPT.encode() + b" -1\n")
@example(b"E{}\n")
def test_arbitrary_bytes_are_a_frame_or_malformed(wire: bytes) -> None:
    try:
        frame = frames.decode(wire)
    except MalformedMessage:
        return
    assert isinstance(frame, frames.Data)
    assert frame.seq >= 1
    assert frame.attempt_id


@pytest.mark.parametrize(
    "wire", [b"", b"D", b"Dx 1", b"X{}\n", b"D\n", b"Dx\n", b"Dx 0\n", b"A{}\n", b"R{}\n", b"E{}\n"]
)
def test_malformed_frames(wire: bytes) -> None:
    with pytest.raises(MalformedMessage):
        frames.decode(wire)
