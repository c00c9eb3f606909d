"""What is stored of prompts and answers where a tenant wants it: the record of a call, and what an administrator reads. Pure."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.tenancy import ContentDays, ContentPolicy
from keyferry.contracts.text import Identifier, Moment, Refusing, printable

MAX_CHARACTERS = 65_536
"""Of a request's messages, and as much of an answer; what is longer is cut, and marked."""
_MAX_SEALED = 1_000_000


def _storable(value: object) -> object:
    return printable(value[:MAX_CHARACTERS]) if isinstance(value, str) else value


ContentText = Annotated[str, BeforeValidator(_storable)]
"""A text with its line breaks; U+FFFD replaces what neither JSON nor a table can hold."""


class CallContent(Message):
    """A request's messages and the answer to it. It travels sealed only."""

    request: ContentText
    """The messages, as JSON."""
    answer: ContentText
    """The text of the answer, and calls of tools as JSON; empty where there was none."""
    request_cut: bool = False
    answer_cut: bool = False


class ContentRecord(Message):
    """The content of one attempt, sealed to the ledger's content key: the bus stores no plaintext."""

    attempt_id: Identifier
    request_id: Identifier
    tenant: TenantId
    policy: ContentPolicy
    days: ContentDays
    """How long it is kept."""
    recorded_at: Moment
    sealed: Annotated[str, Refusing(_MAX_SEALED, pattern=r"^[A-Za-z0-9_-]+$", form="base64url")]


class GetContent(Command):
    """Request the stored content of a request. Each reading is in the audit."""

    tenant: TenantId
    request_id: Identifier
    actor: Actor = "operator"


class AttemptContent(CallContent):
    """The stored content of one attempt."""

    attempt_id: Identifier
    policy: ContentPolicy
    recorded_at: Moment
    expires_at: Moment
    """When it is removed."""


class RequestContent(Message):
    """The stored content of a request, by attempt in their order; empty if none is stored."""

    tenant: TenantId
    request_id: Identifier
    attempts: Annotated[list[AttemptContent], Field(max_length=100)]
