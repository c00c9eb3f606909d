"""Publishes the sums of ratings to their view."""

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.topology import RATINGS_VIEW
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.outbox import Relay
from keyferry.runtime.views import ViewWriter
from services.usage_ledger.feedback.store import OUTBOX, FeedbackStore


class RatingsPublication:
    """The relay from the outbox to the view, while the service runs."""

    def __init__(self, bus: Bus, engine: AsyncEngine, store: FeedbackStore) -> None:
        self._bus = bus
        self._engine = engine
        self._store = store
        self._relay: Relay | None = None

    def wake(self) -> None:
        """Publish a committed change at once."""
        if self._relay is not None:
            self._relay.wake()

    async def start(self) -> None:
        """Start to publish. Call it after the database was opened."""
        writers = {RATINGS_VIEW.name: ViewWriter(self._bus.client, RATINGS_VIEW)}
        self._relay = Relay(self._engine, OUTBOX, writers, self._store.view_contents)
        self._bus.on_reconnect(self._relay.recheck)
        self._relay.start()

    async def stop(self) -> None:
        """Stop publishing; unpublished changes stay in the outbox."""
        if self._relay is not None:
            await self._relay.stop()
