"""FastStream's side of a management request: the decoder of a subject, and the middleware that replies.

Handlers are FastStream's own: they take the decoded message and return the reply. Types are not applied a second time, and
the reply is published without the framework's headers: docs/decisions/2026-11-28-faststream-for-management.md has the figures.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from faststream import BaseMiddleware, ContextRepo, StreamMessage
from faststream.exceptions import SkipMessage
from faststream.nats import NatsMessage
from nats.aio.msg import Msg

from keyferry.contracts.channels import AnySubject, Q, R, Subject
from keyferry.contracts.service import refusal_reply
from keyferry.runtime.bus.dispatch import may_reply, message_reader, refusal_for, request_span
from keyferry.runtime.command_source import read_source, source_scope
from keyferry.runtime.tracing.telemetry import Telemetry

Publish = Callable[[str, bytes], Awaitable[None]]


class ReplyMiddleware:
    """Makes one middleware per message, as FastStream wants it: reply check, and the handler's result or a refusal.

    `publish` sends bytes to a reply subject.
    """

    def __init__(self, role: str, publish: Publish, telemetry: Telemetry | None = None) -> None:
        self.role = role
        self.telemetry = telemetry
        self.publish = publish
        self._subjects: dict[str, tuple[AnySubject, Callable[[str], bool]]] = {}

    def decoder(self, subject: Subject[Q, R]) -> Callable[[NatsMessage], Awaitable[Q]]:
        """Return the decoder of a subject, whose requests are answered from now on.

        It raises MalformedMessage, and Refused where the message disagrees with its subject; neither repeats a value.
        """
        self._subjects[subject.name] = (subject, may_reply(subject))
        read = message_reader(subject)

        async def decode(message: NatsMessage) -> Q:
            return read(message.raw_message.subject, message.body)[0]

        return decode

    def __call__(self, message: Msg | None, /, *, context: ContextRepo) -> "_Reply":
        """Return the middleware of one message."""
        return _Reply(message, context=context, middleware=self)

    def find(self, address: str) -> tuple[AnySubject, Callable[[str], bool]]:
        """Return the subject of a message's address, and its reply check."""
        return self._subjects[".".join(address.split(".", 4)[2:4])]


class _Reply(BaseMiddleware[Any, Any]):
    def __init__(self, message: Msg | None, /, *, context: ContextRepo, middleware: ReplyMiddleware) -> None:
        super().__init__(message, context=context)
        self._middleware = middleware

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Any]) -> Any:
        subject, check_reply = self._middleware.find(msg.raw_message.subject)
        if not check_reply(msg.reply_to):
            raise SkipMessage
        try:
            with source_scope(read_source(msg.headers)), request_span(self._middleware.telemetry, subject, msg.headers):
                data = (await call_next(msg)).encode()
        except Exception as error:  # the edge of the loop: the caller gets an answer, and a defect is logged
            data = refusal_reply(refusal_for(error, subject, self._middleware.role))
        await self._middleware.publish(msg.reply_to, data)
