"""A subscriber to every subject, to see where messages really went."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client
from nats.aio.msg import Msg

from keyferry.contracts.topology import Role
from tests.support.servers.provisioned_bus import ProvisionedBus

WATCH_SECONDS = 30.0


class Watcher:
    """All messages since it connected, by subject."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.received: dict[str, list[bytes]] = defaultdict(list)
        self._arrived = asyncio.Condition()

    async def note(self, message: Msg) -> None:
        if message.reply.startswith("$JS.ACK."):
            return  # what a stream delivers, such as the copies that the server makes for another stream
        async with self._arrived:
            self.received[message.subject].append(message.data)
            self._arrived.notify_all()

    async def wait_for_message(self, subject: str) -> bytes:
        """Return the first message on `subject`. Raises AssertionError when none arrives."""
        try:
            async with asyncio.timeout(WATCH_SECONDS), self._arrived:
                await self._arrived.wait_for(lambda: self.received.get(subject))
        except TimeoutError:
            raise AssertionError(f"no message on {subject}, only on {sorted(self.received)}") from None
        return self.received[subject][0]


@asynccontextmanager
async def watching(bus: ProvisionedBus) -> AsyncIterator[Watcher]:
    """A watcher with the provisioner's rights: no other user may subscribe to everything."""
    async with bus.client(Role.PROVISIONER) as client:
        watcher = Watcher(client)
        await client.subscribe(">", cb=watcher.note)
        await client.flush()
        yield watcher
