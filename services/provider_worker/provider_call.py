"""The interface between an attempt and a way of calling a provider."""

from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Protocol

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import Answer

Send = Callable[[str, bytes, str], Awaitable[None]]
"""Publishes (subject, data, reply); raises nats-py's errors when the bus is unavailable."""


class Phase(IntEnum):
    """How far an attempt has come."""

    PLANNED = 0
    """Nothing was sent, nor is anything awaited."""
    LEASING = 1
    """Its key is being leased. Until here nothing can have been charged."""
    SENDING = 2
    """The provider is called; nothing was delivered to the caller."""
    STREAMING = 3
    """At least one delta was delivered."""
    SETTLED = 4
    """The result is in the spool."""


class Progress(Protocol):
    """What a call reports to its attempt while it runs."""

    def enter(self, phase: Phase) -> None:
        """Record that the attempt has come to `phase`: LEASING or SENDING."""

    async def deliver(self, texts: list[bytes]) -> None:
        """Send chunk texts to the caller. Raises CallerStalled, and nats-py's errors."""


class ProviderCall(Protocol):
    """One call that can be made. Nothing has been sent before `make`."""

    answer: Answer
    """What is known of the answer so far; the whole of it once `make` has returned."""
    origin: str | None
    """`scheme://host:port` that answered; None before that, and for a provider without a network."""

    added: tuple[str, ...]
    """What the call holds besides the caller's own: names of parameters from preferences, and placeholders."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """Fields of the caller's body that the call leaves out."""

    async def make(self, progress: Progress) -> None:
        """Call the provider and deliver the deltas. Raises RefusedByAdapter and UpstreamError."""


class CallPreparer(Protocol):
    """A way of calling one provider."""

    def prepare(self, run: AttemptRun, body: bytes) -> ProviderCall:
        """Prepare the call for the caller's body. Raises RefusedByAdapter."""
