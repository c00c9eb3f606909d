"""Somebody who hears everything on the bus, to see where messages really went."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client
from nats.aio.msg import Msg

from keyferry.contracts.topology import Role
from tests.support.servers.provisioned_bus import ProvisionedBus

PATIENCE_SECONDS = 30.0


class Watcher:
    """Everything that travels, by subject, from the moment it is connected."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: dict[str, list[bytes]] = defaultdict(list)
        self._came = asyncio.Condition()

    async def note(self, message: Msg) -> None:
        async with self._came:
            self.heard[message.subject].append(message.data)
            self._came.notify_all()

    async def until_heard(self, subject: str) -> bytes:
        """The first message on `subject`. Raises AssertionError when none comes."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._came:
                await self._came.wait_for(lambda: self.heard.get(subject))
        except TimeoutError:
            raise AssertionError(f"nothing came on {subject}, only on {sorted(self.heard)}") from None
        return self.heard[subject][0]


@asynccontextmanager
async def watching(bus: ProvisionedBus) -> AsyncIterator[Watcher]:
    """A watcher with the provisioner's rights: nobody else may hear everything."""
    async with bus.client(Role.PROVISIONER) as client:
        watcher = Watcher(client)
        await client.subscribe(">", cb=watcher.note)
        await client.flush()
        yield watcher
