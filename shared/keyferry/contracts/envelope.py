"""The base classes of messages, and the format of a message with a body: one line of JSON, a newline, the body's bytes.

The head holds what routing needs; the body is the caller's JSON, which only the worker parses. Messages between services ignore
unknown fields and change only by optional additions, so that two versions can share a bus during an upgrade. Pure.
"""

import re
from collections.abc import Callable
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from keyferry.contracts.invalid_values import InvalidValue, invalid_values


class Message(BaseModel):
    """A message on the bus. Unknown fields are ignored, so that an older reader accepts a newer writer's messages."""

    # A process uses a few of the hundred message types: the validators of the others are never built (`defer_build`).
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    def encode(self) -> bytes:
        """Return JSON on one line, without nulls."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode a message. Raises MalformedMessage, which names the fields at fault and never repeats their values."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise MalformedMessage(cls.__name__, describe(error), _first_field(error)) from None


class Command(Message):
    """A management request. Unknown fields are rejected, so that a misspelt setting does not pass."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Head(Message):
    """The head line of a message with a body."""

    NEWLINE: ClassVar[bytes] = b"\n"

    def with_body(self, body: bytes) -> bytes:
        """Return the complete message: this head, a newline, the body unchanged."""
        return b"\n".join((self.encode(), body))

    @classmethod
    def split(cls, data: bytes) -> tuple[Self, bytes]:
        """Split a message into head and body. Raises MalformedMessage."""
        head, newline, body = data.partition(cls.NEWLINE)
        if not newline:
            raise MalformedMessage(cls.__name__, "the head line has no end")
        return cls.decode(head), body


class MalformedMessage(ValueError):
    """A message that does not match its contract."""

    def __init__(self, contract: str, reason: str, param: str | None = None) -> None:
        super().__init__(f"{contract}: {reason}")
        self.contract = contract
        self.reason = reason
        self.param = param
        """The first field at fault, if it has a name."""


def describe(error: ValidationError, rename: Callable[[str], str] = str) -> str:
    """Return validation errors as `field: what is wrong`, without the values, which may be secret.

    `rename` turns the name of a field into the one that the reader knows. Values are removed from the texts of custom
    validators, and from misused field names, which show as `…`.
    """
    found = invalid_values(error.errors(include_url=False))
    return "; ".join(f"{rename(_format_location(value.path))}: {_reason_of(value)}" for value in found)


def _first_field(error: ValidationError) -> str | None:
    where = error.errors(include_context=False, include_url=False, include_input=False)[0]["loc"]
    return where[0] if where and isinstance(where[0], str) and _FIELD.fullmatch(where[0]) else None


_FIELD = re.compile(r"[A-Za-z_]{1,40}", re.ASCII)
"""Field names, including misspelt ones; a secret is longer, or has digits."""
_LONG_CHARACTERS = 6


def _format_location(parts: tuple[int | str, ...]) -> str:
    shown = (str(part) if isinstance(part, int) or _FIELD.fullmatch(part) else "…" for part in parts)
    return ".".join(shown) or "message"


def _reason_of(value: InvalidValue) -> str:
    return _remove_value(value.reason, value.given) if value.is_custom else value.reason


def _remove_value(message: str, value: object) -> str:
    text = value if isinstance(value, str) else ""
    message = message.replace(repr(value), "this")
    return message.replace(text, "…") if len(text) >= _LONG_CHARACTERS else message
