"""From a raw NATS message to a handler: reply check, decoding, agreement with the subject, refusals.

Every message that a service handles passes here, so that no handler repeats these checks.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import orjson
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from keyferry.contracts.channels import AnySubject, Q, R, Role, Subject, agree
from keyferry.contracts.envelope import Head, MalformedMessage, Message
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.frames import RequestRefused
from keyferry.contracts.service import ErrorCode, Refusal, refusal_reply
from keyferry.contracts.topology import reply_prefixes
from keyferry.contracts.traces import SpanKind
from keyferry.runtime.bus.requests import TRACEPARENT, Refused
from keyferry.runtime.tracing.span import work_for
from keyferry.runtime.tracing.telemetry import Telemetry

_log = logging.getLogger(__name__)

RawHandler = Callable[[Msg], Awaitable[None]]
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,200}")
_UNKNOWN_REQUEST = "unknown"
M = TypeVar("M", bound=Message, covariant=True)
Spawn = Callable[[Awaitable[None]], None]


@dataclass(slots=True)
class ReceivedMessage(Generic[M]):
    """A decoded message; `body` is empty unless the message type is a `Head`."""

    message: M
    body: bytes
    subject: str
    reply_to: str
    received_ns: int
    """`time.perf_counter_ns()` on arrival, before decoding."""

    def token(self, position: int) -> str:
        """Return one token of the subject, where the server has checked what the publisher may name."""
        return self.subject.split(".")[position]


def receiver(
    subject: Subject[Q, R],
    handler: Callable[[ReceivedMessage[Q]], Awaitable[R]],
    spawn: Spawn,
    role: str,
    telemetry: Telemetry | None = None,
) -> RawHandler:
    """Return the callback of a raw subscription.

    A request is answered beside the subscription, by what `handler` returns. Any other message is handed over at once, and
    dropped with a line in the log when it cannot be read or disagrees with its subject.
    """
    check_reply = may_reply(subject)
    if subject.reply is not None:
        answer = answerer(subject, handler, role)

        async def respond(message: Msg) -> None:
            with request_span(telemetry, subject, message.headers):
                data = await answer(message)
            await message.respond(data)

        async def on_request(message: Msg) -> None:
            if check_reply(message.reply):
                spawn(respond(message))

        return on_request

    return _head_receiver(subject, handler) if issubclass(subject.message, Head) else _plain_receiver(subject, handler)


def _head_receiver(subject: Subject[Q, R], handler: Callable[[ReceivedMessage[Q]], Awaitable[R]]) -> RawHandler:
    # Every request for a completion passes here: no call that is not needed.
    prefixes, split, checked_fields = reply_prefixes(subject), cast(Any, subject.message).split, subject.checked_fields

    async def on_message(message: Msg) -> None:
        received_ns = time.perf_counter_ns()
        if not message.reply.startswith(prefixes):
            _log_disallowed_reply(subject)
            return
        try:
            head, body = split(message.data)
        except MalformedMessage as error:
            _log_malformed(message, error)
            await _refuse(subject, message, error)
            return
        if checked_fields and not agree(message.subject, head, checked_fields):
            _log_disagreement(message)
            return
        await handler(ReceivedMessage(head, body, message.subject, message.reply, received_ns))

    return on_message


async def _refuse(subject: AnySubject, message: Msg, error: MalformedMessage) -> None:
    """Answer a request that cannot be read, whose caller would otherwise wait for its deadline."""
    try:
        document = orjson.loads(message.data.partition(Head.NEWLINE)[0])
    except orjson.JSONDecodeError:
        document = None
    request_id = document.get("request_id") if isinstance(document, dict) else None
    from_outside = Role.INTERNAL_CLIENT in subject.publishers
    failure = Failure(
        failure_class=FailureClass.BAD_REQUEST if from_outside else FailureClass.INTERNAL,
        message=f"the request cannot be read: {error.reason}",
        param=error.param if from_outside else None,
    )
    known = isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id)
    refused = RequestRefused(request_id=request_id if known else _UNKNOWN_REQUEST, failure=failure)
    with suppress(NatsError):
        await message.respond(refused.to_frame())


def _plain_receiver(subject: Subject[Q, R], handler: Callable[[ReceivedMessage[Q]], Awaitable[R]]) -> RawHandler:
    decode, checked_fields = subject.message.decode, subject.checked_fields

    async def on_message(message: Msg) -> None:
        received_ns = time.perf_counter_ns()
        try:
            decoded = decode(message.data)
        except MalformedMessage as error:
            _log_malformed(message, error)
            return
        if checked_fields and not agree(message.subject, decoded, checked_fields):
            _log_disagreement(message)
            return
        await handler(ReceivedMessage(decoded, b"", message.subject, message.reply, received_ns))

    return on_message


@contextmanager
def request_span(
    telemetry: Telemetry | None, subject: AnySubject, headers: Mapping[str, object] | None
) -> Iterator[None]:
    """Wrap the handling of a request in a span, if its headers say that it is part of a trace."""
    parent = (headers or {}).get(TRACEPARENT)
    if telemetry is None or not isinstance(parent, str):
        yield
        return
    with telemetry.span(subject.name, parent, kind=SpanKind.SERVER) as span:
        work_for(span)
        try:
            yield
        finally:
            work_for(None)


def _log_disallowed_reply(subject: AnySubject) -> None:
    _log.warning("dropped a message with a disallowed reply subject", extra={"subject": subject.name})


def _log_malformed(message: Msg, error: MalformedMessage) -> None:
    _log.error("dropped a malformed message", extra={"subject": message.subject, "why": error.reason})


def _log_disagreement(message: Msg) -> None:
    _log.warning(
        "dropped a message that names another tenant or owner than its subject", extra={"subject": message.subject}
    )


def may_reply(subject: AnySubject) -> Callable[[str], bool]:
    """Return a check of a reply subject: whether an answer may go there, with a line in the log where it may not."""
    prefixes = reply_prefixes(subject)

    def check(reply_to: str) -> bool:
        if reply_to.startswith(prefixes):
            return True
        _log_disallowed_reply(subject)
        return False

    return check


def answerer(
    subject: Subject[Q, R], handler: Callable[[ReceivedMessage[Q]], Awaitable[R]], role: str
) -> Callable[[Msg], Awaitable[bytes]]:
    """Return a function from a request to its reply: what `handler` returns, or a refusal."""
    read = message_reader(subject)

    async def answer(message: Msg) -> bytes:
        received_ns = time.perf_counter_ns()
        try:
            question, body = read(message.subject, message.data)
            reply = await handler(ReceivedMessage(question, body, message.subject, message.reply, received_ns))
            return cast(Message, reply).encode()
        except Exception as error:  # the edge of the loop: the caller gets an answer, and a defect is logged
            return refusal_reply(refusal_for(error, subject, role))

    return answer


def refusal_for(error: Exception, subject: AnySubject, role: str) -> Refusal:
    """Return the refusal that stands for an exception. A defect is logged, and its text is not repeated."""
    if isinstance(error, Refused):
        return error.refusal
    if isinstance(error, MalformedMessage):
        return Refusal(code=ErrorCode.INVALID, message=error.reason)
    _log.error("a request failed", exc_info=error, extra={"subject": subject.name})
    return Refusal(code=ErrorCode.INTERNAL, message=f"{subject.name} failed; see the log of {role}")


def message_reader(subject: Subject[Q, Any]) -> Callable[[str, bytes], tuple[Q, bytes]]:
    """Return a function that decodes a message and its body. It raises MalformedMessage, and Refused for a disagreement."""
    message_type = subject.message
    checked_fields = subject.checked_fields
    split: Callable[[bytes], tuple[Q, bytes]] = (
        cast(Any, message_type).split
        if issubclass(message_type, Head)
        else lambda data: (message_type.decode(data), b"")
    )

    def read(address: str, data: bytes) -> tuple[Q, bytes]:
        message, body = split(data)
        if checked_fields and not agree(address, message, checked_fields):
            raise Refused(ErrorCode.INVALID, f"the message names another tenant or owner than {address}")
        return message, body

    return read
