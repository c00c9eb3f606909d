"""Text from outside in heads of requests, trace context, header values, numbers and log lines."""

import json
import logging
import re
import sys
from typing import Any, cast

import pytest
from nats.aio.msg import Msg

from keyferry.contracts import frames
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.text import parse_digits
from keyferry.contracts.topology import ATTEMPT_RUN, CHAT_REQUEST, AnySubject
from keyferry.runtime.bus.dispatch import ReceivedMessage, receiver
from keyferry.runtime.http.asgi import Message
from keyferry.runtime.http.body import RequestBodyLimits
from keyferry.runtime.process.logs import JsonFormatter
from keyferry.runtime.tracing.context import parse, trace_id
from keyferry.runtime.tracing.telemetry import Telemetry
from tests.support.providers.attempt_runs import attempt_run

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAFE = "\x00\x1b[31m\r\n\x85\u2028\u202e\ud800"


class Received:
    """A message on the bus that keeps what it is answered."""

    def __init__(self, data: bytes, subject: str, reply: str = "_INBOX_c.operator.x") -> None:
        self.data, self.subject, self.reply = data, subject, reply
        self.answers: list[bytes] = []

    async def respond(self, data: bytes) -> None:
        self.answers.append(data)


def no_spawn(work: object) -> None:
    raise AssertionError("nothing is answered beside the subscription")


async def refusal(subject: AnySubject, message: Received) -> frames.RequestRefused:
    async def handle(received: ReceivedMessage[Any]) -> None:
        raise AssertionError("handled")

    await receiver(subject, handle, no_spawn, "router")(cast(Msg, message))
    (answer,) = message.answers
    frame = frames.decode(answer)
    assert isinstance(frame, frames.RequestRefused)
    return frame


def chat_head(**changes: object) -> bytes:
    fields = {"request_id": "req_1", "tenant": "acme", "model": "m", "stream": False, "deadline_ms": 1}
    return json.dumps({**fields, "start_by_unix_ms": 1, **changes}).encode() + b"\n{}"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": "up/raw\x00x"}, "model"),
        ({"model": "\ud800"}, None),
        ({"operation": "a b"}, "operation"),
        ({"tags": {"a": "\x1b[31m"}}, "tags"),
        ({"allowed_models": ["\u202e"]}, "allowed_models"),
        ({"deadline_ms": 2**64}, "deadline_ms"),
        ({"request_id": "req\n1"}, "request_id"),
    ],
)
async def test_a_request_on_the_bus_that_cannot_be_read_is_refused_at_once(
    changes: dict[str, object], param: str | None
) -> None:
    frame = await refusal(CHAT_REQUEST, Received(chat_head(**changes), "kf.v1.chat.request.acme"))
    assert (frame.failure.failure_class, frame.failure.param) == (FailureClass.BAD_REQUEST, param)
    assert frame.request_id == ("unknown" if "request_id" in changes or param is None else "req_1")
    assert "\x00" not in frame.failure.message


async def test_an_attempt_that_cannot_be_read_is_the_gateway_s_failure() -> None:
    data = attempt_run().with_body(b"{}").replace(b'"model":', b'"model":"\\u0000","other":', 1)
    frame = await refusal(ATTEMPT_RUN, Received(data, "kf.v1.attempt.run.custom"))
    assert (frame.failure.failure_class, frame.failure.param) == (FailureClass.INTERNAL, None)


async def test_no_refusal_goes_to_a_disallowed_reply_subject() -> None:
    message = Received(chat_head(model="\x00"), "kf.v1.chat.request.acme", "kf.v1.attempt.run.stolen")

    async def handle(received: ReceivedMessage[Any]) -> None:
        raise AssertionError("handled")

    await receiver(CHAT_REQUEST, handle, no_spawn, "router")(cast(Msg, message))
    assert message.answers == []


@pytest.mark.parametrize(
    "text", ["", TRACEPARENT + "\n", TRACEPARENT + "\r\nx: y", f" {TRACEPARENT}", TRACEPARENT[:-1]]
)
def test_a_malformed_trace_context_begins_a_new_trace(text: str) -> None:
    assert trace_id(text) is None
    assert parse(text) is None
    assert Telemetry("test", {}).start("x", text).traceparent != text


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("42", 42), ("9" * 18, 10**18 - 1)]
    + [(text, None) for text in ("", "²", "٣", "1\n", "-1", "+1", "1_0", " 1", "1.0", "9" * 19, "9" * 5000, "NaN")],
)
def test_only_ascii_digits_are_a_number(text: str, number: int | None) -> None:
    assert parse_digits(text) == number


@pytest.mark.parametrize("length", ["²", "٣", "-1", "x" * 100, "9" * 5000])
async def test_an_unreadable_content_length_limits_nothing_by_itself(length: str) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    limits = RequestBodyLimits(max_bytes=10**19, timeout_seconds=5, owner="this test")
    scope = {"headers": [(b"content-length", length.encode("utf-8"))]}
    assert await limits.read(scope, receive) == b"{}"


def log_line(message: str, **extra: object) -> str:
    record = logging.makeLogRecord({"msg": message, "levelname": "ERROR", "levelno": logging.ERROR, **extra})
    return JsonFormatter("test").format(record)


def test_a_log_line_is_one_line_of_plain_ascii_whatever_is_in_it() -> None:
    line = log_line(UNSAFE, model=UNSAFE, found={UNSAFE: [UNSAFE]})
    assert re.fullmatch(r"[\x20-\x7e]+", line)
    read = json.loads(line)
    assert (read["message"], read["model"], read["found"]) == (UNSAFE, UNSAFE, {UNSAFE: [UNSAFE]})


def test_a_long_value_is_cut_in_the_log() -> None:
    assert len(log_line("x" * 1_000_000, model="y" * 1_000_000)) < 20_000


def test_no_text_is_taken_for_a_number_by_its_unicode_class() -> None:
    """The reason for `parse_digits`: what these methods accept, `int` may not."""
    assert "²".isdigit()
    with pytest.raises(ValueError, match="invalid literal"):
        int("²")
    assert sys.get_int_max_str_digits() < 5000
