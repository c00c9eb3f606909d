"""Limits of tenants and client tokens, what an admitted request holds of them, and what is left of them. Pure."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.text import Count, Identifier, Ordinal, Refusing

MAX_LIMIT = 1_000_000_000
UNLIMITED: Literal["unlimited"] = "unlimited"

LimitValue = Annotated[int, Field(strict=True, ge=1, le=MAX_LIMIT)] | Literal["unlimited"]
"""A limit: a number, or explicitly none."""
LimitChange = LimitValue | Literal["default"]
"""A new limit; `default` goes back to the tier's for a tenant, and to none of its own for a client token."""


class LimitKind(StrEnum):
    """What a limit counts."""

    RPM = "rpm"
    """Requests per minute."""
    TPM = "tpm"
    """Tokens per minute, prompt and completion together."""
    CONCURRENCY = "concurrency"
    """Requests that are being answered at the same time."""


class Limits(Message):
    """The limits of a tier, a tenant or a client token. Null is the tier's for a tenant, and none for a client token."""

    rpm: LimitValue | None = None
    """Requests per minute."""
    tpm: LimitValue | None = None
    """Tokens per minute."""
    concurrency: LimitValue | None = None
    """Requests at the same time."""


class LimitChanges(Command):
    """Limits to set; null fields stay as they are."""

    rpm: LimitChange | None = None
    tpm: LimitChange | None = None
    concurrency: LimitChange | None = None

    def apply(self, current: Limits | None) -> Limits | None:
        """Return the limits after these changes; None if none is left that differs from the default."""
        merged = {} if current is None else current.model_dump(exclude_none=True)
        merged |= self.model_dump(exclude_none=True)
        kept = {name: value for name, value in merged.items() if value != "default"}
        return Limits(**kept) if kept else None


NO_LIMITS = LimitChanges(rpm=UNLIMITED, tpm=UNLIMITED, concurrency=UNLIMITED)
"""Switches all limits of a tenant off."""


class LimitStatus(Message):
    """What is left of one limit, as `x-ratelimit-*` headers say it."""

    limit: Ordinal
    remaining: Count
    reset_ms: Count
    """Milliseconds until all of it is available again."""


class RateLimits(Message):
    """The tightest limit of requests and of tokens that applies to a request; null where it is unlimited."""

    requests: LimitStatus | None = None
    tokens: LimitStatus | None = None

    def after(self, elapsed_ms: int) -> "RateLimits":
        """Return the same as it is said so much later: the time until all is available again is shorter by then."""
        return RateLimits(requests=_after(self.requests, elapsed_ms), tokens=_after(self.tokens, elapsed_ms))


def _after(status: LimitStatus | None, elapsed_ms: int) -> LimitStatus | None:
    return status and status.model_copy(update={"reset_ms": max(0, status.reset_ms - elapsed_ms)})


class HeldCount(Message):
    """What an admitted request holds of one counter."""

    kind: LimitKind
    client_token_id: Identifier | None = None
    """The client token whose limit it is; null for the tenant's."""
    window: Count
    """The counter's window, or its epoch for concurrency."""
    amount: Ordinal


class Admission(Message):
    """What an admitted request holds until its last attempt has ended; it travels with the request."""

    held: list[HeldCount] = Field(default_factory=list, max_length=8)


CounterText = Annotated[str, Refusing(40, pattern=r"^-?[0-9]+$", form="a decimal integer")]


class CounterValue(Message):
    """What the server stores for a counter. An increment has an empty body, and its amount in the header `Nats-Incr`."""

    val: CounterText
