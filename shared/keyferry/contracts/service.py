"""The messages that every service has: its report, and refusals. Pure."""

from enum import StrEnum

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.text import Count, Explanation, Identifier, Line


class ErrorCode(StrEnum):
    """Why a service refuses a request."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class Refusal(Message):
    """The reply to a request that is not carried out; `message` says what to do about it."""

    code: ErrorCode
    message: Explanation


_REPLY_START = b'{"refusal":'


def refusal_reply(refusal: Refusal) -> bytes:
    """Return the bytes of a refusal in place of a reply: `{"refusal": Refusal}`."""
    return _REPLY_START + refusal.encode() + b"}"


def refusal_in(reply: bytes) -> Refusal | None:
    """Return the refusal in a reply, if it is one. Raises MalformedMessage."""
    return Refusal.decode(reply[len(_REPLY_START) : -1]) if reply.startswith(_REPLY_START) else None


class Ping(Command):
    """Request a report from every process of a service."""


class ServiceReport(Message):
    """The state of one process of a service."""

    service: Identifier
    slot: Count
    pid: Count
    instance_id: Identifier
    version: Line
    ready: bool
    waiting_for: list[Explanation]
    """The conditions that keep it from being ready."""
    degraded: list[Explanation] = Field(default_factory=list)
    """What an operator should attend to although the process is ready and serves requests."""
    facts: dict[Line, Explanation] = Field(default_factory=dict)
    """A few figures for the operator: view sizes, unconfirmed attempts."""
