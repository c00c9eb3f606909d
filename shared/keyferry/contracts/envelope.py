"""The shape of every message on the hot path: one head line of JSON, a newline, and a body of bytes left as they came.

The head holds what routing needs; the body is the caller's JSON, which only the worker parses. Messages that are read by
services of two versions at once ignore fields they do not know and change only by optional additions.
"""

import re
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class Message(BaseModel):
    """What travels on the bus. Unknown fields are ignored, so that an older reader survives a newer writer."""

    # A process reads and writes a few of the hundred kinds: the others are never built (`defer_build`).
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    def encode(self) -> bytes:
        """JSON without nulls, on one line."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises MalformedMessage, which names the fields at fault and never repeats their values."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise MalformedMessage(cls.__name__, describe(error)) from None


class Command(Message):
    """What a person or a program asks an owner to do. Unknown fields are refused: a misspelt setting must not pass."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Head(Message):
    """The head line of a message that carries a body."""

    NEWLINE: ClassVar[bytes] = b"\n"

    def with_body(self, body: bytes) -> bytes:
        """The whole message: this head, a newline, the body untouched."""
        return b"\n".join((self.encode(), body))

    @classmethod
    def split(cls, data: bytes) -> tuple[Self, bytes]:
        """Head and body of a message. Raises MalformedMessage."""
        head, newline, body = data.partition(cls.NEWLINE)
        if not newline:
            raise MalformedMessage(cls.__name__, "the head line has no end")
        return cls.decode(head), body


class MalformedMessage(ValueError):
    """A message that does not fit its contract."""

    def __init__(self, contract: str, reason: str) -> None:
        super().__init__(f"{contract}: {reason}")
        self.contract = contract
        self.reason = reason


def describe(error: ValidationError) -> str:
    """The faults of a validation as `field: what is wrong`, without the values, which may be secret.

    Neither as an input nor inside a message of our own; nor where a value stands as a field's name, which shows as `…`.
    """
    faults = error.errors(include_context=False, include_url=False)
    return "; ".join(f"{_place(fault['loc'])}: {_without_value(fault['msg'], fault['input'])}" for fault in faults)


_FIELD = re.compile(r"[A-Za-z_]{1,40}", re.ASCII)
"""Names of fields, misspelt ones too; a secret is longer, or has digits."""
_LONG_CHARACTERS = 6


def _place(parts: tuple[int | str, ...]) -> str:
    shown = (str(part) if isinstance(part, int) or _FIELD.fullmatch(part) else "…" for part in parts)
    return ".".join(shown) or "message"


def _without_value(message: str, value: object) -> str:
    text = value if isinstance(value, str) else ""
    message = message.replace(repr(value), "this")
    return message.replace(text, "…") if len(text) >= _LONG_CHARACTERS else message
