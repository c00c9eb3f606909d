"""The rules of a complete answer."""

import pytest

from keyferry.contracts import frames
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.usage import KeySource, Outcome
from keyferry.runtime.request.assembly import Assembly, CallFailed, Piece


def accepted(attempt: str = "att_1", number: int = 1) -> frames.Accepted:
    return frames.Accepted(
        attempt_id=attempt,
        instance_id="inst_1",
        attempt_number=number,
        decision_id="dec_1",
        provider="echo",
        model="echo",
        key_source=KeySource.NONE,
    )


def data(seq: int, payload: bytes = b"x", attempt: str = "att_1") -> frames.Data:
    return frames.Data(attempt_id=attempt, seq=seq, payload=payload)


def end(count: int, attempt: str = "att_1", outcome: Outcome = Outcome.COMPLETED, payload: bytes = b"") -> frames.End:
    return frames.End(attempt_id=attempt, outcome=outcome, count=count, payload=payload)


def test_pieces_come_in_order_and_the_end_is_the_last() -> None:
    assembly = Assembly()
    assert assembly.take(accepted()) is None
    assert assembly.take(data(1, b"a")) == Piece(b"a", last=False)
    assert assembly.take(data(2, b"b")) == Piece(b"b", last=False)
    assert assembly.take(end(2, payload=b"c")) == Piece(b"c", last=True)


@pytest.mark.parametrize("arriving", [[data(2)], [data(1), data(3)], [data(1), data(1)], [end(1)], [data(1), end(2)]])
def test_a_gap_never_completes_an_answer(arriving: list[frames.Frame]) -> None:
    assembly = Assembly()
    assembly.take(accepted())
    with pytest.raises(CallFailed) as failed:
        list(map(assembly.take, arriving))
    assert failed.value.failure.failure_class is FailureClass.TRUNCATED


def test_frames_of_an_older_attempt_are_dropped_and_counting_restarts() -> None:
    assembly = Assembly()
    assembly.take(accepted())
    assembly.take(accepted("att_2", number=2))
    assert assembly.take(data(1)) is None
    assert assembly.take(end(0)) is None
    assert assembly.take(data(1, b"new", "att_2")) == Piece(b"new", last=False)
    assert assembly.take(accepted("att_1", number=1)) is None
    assert assembly.take(end(1, "att_2")) == Piece(b"", last=True)


def test_a_second_acceptance_with_the_same_number_does_not_take_over() -> None:
    """A request that was sent twice can be accepted by two workers: the caller stays with the first."""
    assembly = Assembly()
    assembly.take(accepted("att_1", number=2))
    assembly.take(data(1, b"a"))
    assembly.take(accepted("att_2", number=2))
    assert assembly.accepted == accepted("att_1", number=2)
    assert assembly.take(data(1, b"foreign", "att_2")) is None
    assert assembly.take(data(2, b"b")) == Piece(b"b", last=False)
    assert assembly.take(end(2)) == Piece(b"", last=True)


def test_a_frame_before_acceptance_is_dropped() -> None:
    assert Assembly().take(data(1)) is None


def test_a_failed_end_carries_its_failure_and_decision() -> None:
    assembly = Assembly()
    assembly.take(accepted())
    failure = Failure(failure_class=FailureClass.OVERLOADED, message="busy", status=503)
    with pytest.raises(CallFailed) as failed:
        assembly.take(frames.End(attempt_id="att_1", outcome=Outcome.FAILED, count=0, failure=failure))
    assert failed.value.failure == failure
    assert failed.value.decision_id == "dec_1"


def test_a_refusal_ends_the_request() -> None:
    failure = Failure(failure_class=FailureClass.NOT_FOUND, message="no such model")
    with pytest.raises(CallFailed) as failed:
        Assembly().take(frames.RequestRefused(request_id="req_1", decision_id="dec_2", failure=failure))
    assert failed.value.failure == failure
    assert failed.value.decision_id == "dec_2"


def test_an_attempt_that_was_delayed_is_accepted_a_second_time_with_what_its_call_drops() -> None:
    assembly = Assembly()
    assembly.take(accepted())
    assembly.take(accepted().model_copy(update={"dropped": ["n"]}))
    assert assembly.accepted is not None
    assert assembly.accepted.dropped == ["n"]
    assembly.take(data(1))
    assembly.take(accepted())
    assert assembly.take(data(2)) is not None, "an acceptance after the answer has begun was taken for a new one"


def test_a_second_worker_that_accepts_the_same_attempt_number_is_not_listened_to() -> None:
    assembly = Assembly()
    assembly.take(accepted())
    assembly.take(accepted("att_2"))
    assert assembly.accepted is not None
    assert assembly.accepted.attempt_id == "att_1"
