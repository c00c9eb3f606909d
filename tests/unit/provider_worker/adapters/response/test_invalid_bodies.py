"""Invalid bodies under status 200."""

import pytest

from keyferry.contracts.failure import FailureClass, Where
from services.provider_worker.adapters.response.errors import (
    failure_of_invalid_body,
    invalid_response,
    truncated_stream,
)


@pytest.mark.parametrize(
    ("content", "failure_class", "detail"),
    [
        (b'{"choices": [', FailureClass.TRUNCATED, "ended before it was complete"),
        (b'\n  {"choices": [', FailureClass.TRUNCATED, "ended before it was complete"),
        (b"", FailureClass.SERVER, "an empty body"),
        (b" \r\n", FailureClass.SERVER, "an empty body"),
        (b"<html>", FailureClass.SERVER, "not a JSON object"),
        (b"[]", FailureClass.SERVER, "not a JSON object"),
    ],
)
def test_a_body_that_is_not_an_object_is_explained(content: bytes, failure_class: FailureClass, detail: str) -> None:
    failure = failure_of_invalid_body(content)
    assert (failure.failure_class, failure.where) == (failure_class, Where.HTTP_200_BODY)
    assert detail in failure.message


def test_a_truncated_stream_is_mid_stream_and_an_invalid_response_is_a_server_failure() -> None:
    assert (truncated_stream().failure_class, truncated_stream().where) == (FailureClass.TRUNCATED, Where.MID_STREAM)
    failure = invalid_response("It says nothing.")
    assert (failure.failure_class, failure.message) == (FailureClass.SERVER, "It says nothing.")
