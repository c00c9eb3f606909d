"""Requests over the bus: asking an owner, and the refusal it may answer with."""

from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from keyferry.contracts.channels import Q, R, Subject
from keyferry.contracts.service import ErrorCode, Refusal, refusal_in
from keyferry.runtime.command_source import source_headers
from keyferry.runtime.process.settings import CannotStart
from keyferry.runtime.tracing.span import current_span

TRACEPARENT = "traceparent"
"""The header of a request with the context of its trace."""


class BusError(CannotStart):
    """The bus cannot be used; the message says what to do."""


class Refused(Exception):
    """An owner does not do what was requested. Raised by handlers, and by `ask` for a refusal that it receives."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code=code, message=message)


async def ask(client: Client, subject: Subject[Q, R], question: Q, *, timeout_seconds: float, **values: str) -> R:
    """Send a request over any connection and return the reply. Raises Refused, or BusError when nothing answers."""
    try:
        reply = await client.request(
            subject.address(question, **values), question.encode(), timeout=timeout_seconds, headers=_headers()
        )
    except NoRespondersError:
        raise BusError(
            f"nobody answers {subject.name}: is {subject.subscribers[0]} running? `keyferry doctor` shows the cause"
        ) from None
    except (TimeoutError, NatsTimeoutError):
        raise BusError(f"no answer to {subject.name} within {timeout_seconds:g} s") from None
    if (refusal := refusal_in(reply.data)) is not None:
        raise Refused(refusal.code, refusal.message)
    return subject.decode_reply(reply.data)


def _headers() -> dict[str, str] | None:
    """Return who is behind the request, and the trace that it is part of, where that is known."""
    headers, span = source_headers(), current_span()
    return headers if span is None else {**(headers or {}), TRACEPARENT: span.traceparent}
