"""Publishes what the ledger keeps for others to their views."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.channels import Bucket
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.outbox import Reconcile, Relay
from keyferry.runtime.views import ViewWriter
from services.usage_ledger.database import OUTBOX


class LedgerPublication:
    """The relay from the outbox to the views, while the service runs."""

    def __init__(
        self, bus: Bus, engine: AsyncEngine, views: Sequence[Bucket[Any]], contents: Sequence[Reconcile]
    ) -> None:
        """Publish `views`; the results of `contents` have the entries of all of them, by name and key."""
        self._bus = bus
        self._engine = engine
        self._views = views
        self._contents = contents
        self._relay: Relay | None = None

    def wake(self) -> None:
        """Publish a committed change at once."""
        if self._relay is not None:
            self._relay.wake()

    async def start(self) -> None:
        """Start to publish. Call it after the database was opened."""
        writers = {view.name: ViewWriter(self._bus.client, view) for view in self._views}
        self._relay = Relay(self._engine, OUTBOX, writers, self._all_contents)
        self._bus.on_reconnect(self._relay.recheck)
        self._relay.start()

    async def stop(self) -> None:
        """Stop publishing; unpublished changes stay in the outbox."""
        if self._relay is not None:
            await self._relay.stop()

    async def _all_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        found: dict[str, Mapping[str, bytes]] = {}
        for contents in self._contents:
            found |= await contents()
        return found
