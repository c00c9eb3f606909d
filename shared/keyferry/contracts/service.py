"""What every service says of itself, and how an owner refuses."""

from enum import StrEnum

from pydantic import Field

from keyferry.contracts.envelope import Command, Message


class ErrorCode(StrEnum):
    """Why an owner did not do what it was asked."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class Refusal(Message):
    """An owner's answer when it does not do what was asked; `message` says what to do about it."""

    code: ErrorCode
    message: str


_REPLY_START = b'{"refusal":'


def refusal_reply(refusal: Refusal) -> bytes:
    """What goes to the asker's inbox in place of an answer: `{"refusal": Refusal}`."""
    return _REPLY_START + refusal.encode() + b"}"


def refusal_in(reply: bytes) -> Refusal | None:
    """The refusal that a reply is, if it is one. Raises MalformedMessage."""
    return Refusal.decode(reply[len(_REPLY_START) : -1]) if reply.startswith(_REPLY_START) else None


class Ping(Command):
    """Ask every process of a service to report."""


class ServiceReport(Message):
    """One process of a service."""

    service: str
    slot: int
    pid: int
    instance_id: str
    version: str
    ready: bool
    waiting_for: list[str]
    """What keeps it from being ready."""
    facts: dict[str, str] = Field(default_factory=dict)
    """A few figures that help an operator: view sizes, unconfirmed attempts."""
