"""Leaving a server that is cut off from its cluster.

A server that the network separates from the others keeps its clients, and they do not see it: requests to processes at other
servers are lost without an error, and nothing is stored. So each process counts, once a second, the servers that answer through
its own. If that is no majority it goes to another one. A server that has stopped without closing its connections is detected
in the same way.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from keyferry.contracts.topology import SERVER_IDENTITY

_log = logging.getLogger(__name__)

_ROUND_SECONDS = 1.0
_ANSWER_SECONDS = 1.0
_UNSUPPORTED_ROUND_SECONDS = 30.0
_OWN_DELAY_SECONDS = 0.5
"""A round in which this process itself was held up for so long proves nothing about the servers."""
_MISSED = 2
_MISSED_AGAIN = 10


class MajorityCount:
    """Decides by the number of servers that answered in each round. `servers` is how many there are at least. Pure."""

    def __init__(self, servers: int) -> None:
        self.servers = servers
        self._missed = 0
        self._moves = 0

    @property
    def majority(self) -> int:
        """The least number that is more than half of the servers known."""
        return self.servers // 2 + 1

    @property
    def tried_all(self) -> bool:
        """Whether every server has been left since the last majority: then none is better than another."""
        return self._moves >= self.servers

    def add(self, answered: int) -> bool:
        """Take the result of a round. Return whether to go to another server now."""
        self.servers = max(self.servers, answered)
        if answered >= self.majority:
            self._missed = self._moves = 0
            return False
        if self.servers == 1:
            return False  # there is no other one, and one that is busy answers late
        self._missed += 1
        if self._missed < (_MISSED_AGAIN if self.tried_all else _MISSED):
            return False
        self._missed = 0
        self._moves += 1
        return True


class ServerWatch:
    """Counts the servers that the connection reaches, and leaves one that reaches no majority.

    `inbox` is a prefix that this process may subscribe to. Where the servers do not answer at all, as those with the
    configuration of an earlier build do, nothing is concluded.
    """

    def __init__(self, client: Callable[[], Client], inbox: str, servers: int) -> None:
        self._client = client
        self._inbox = inbox
        self._count = MajorityCount(servers)
        self._round = 0
        self._answers: set[str] = set()
        self._enough = asyncio.Event()
        self._supported = False

    async def run(self) -> None:
        """Watch for ever. Raises NatsError if the connection is closed before the first round."""
        client = self._client()
        await client.subscribe(f"{self._inbox}.*", cb=self._on_answer)
        while True:
            await asyncio.sleep(_ROUND_SECONDS if self._supported else _first_rounds(self._round))
            if client.is_connected and (answered := await self._ask(client)) is not None:
                await self._conclude(client, answered)

    async def _ask(self, client: Client) -> int | None:
        """Return how many servers have answered in time; None if this process was too slow to say."""
        self._round += 1
        self._answers.clear()
        self._enough.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        with suppress(NatsError, TimeoutError, OSError):
            await client.publish(SERVER_IDENTITY, b"", reply=f"{self._inbox}.{self._round}")
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._enough.wait()
        late = loop.time() - began - _ANSWER_SECONDS > _OWN_DELAY_SECONDS
        return None if late else len(self._answers)

    async def _on_answer(self, message: Msg) -> None:
        if message.subject != f"{self._inbox}.{self._round}":
            return  # of an earlier round
        with suppress(ValueError, KeyError, TypeError):  # what is no answer does not count
            self._answers.add(str(json.loads(message.data)["id"]))
        if len(self._answers) >= self._count.majority:
            self._enough.set()

    async def _conclude(self, client: Client, answered: int) -> None:
        self._supported = self._supported or answered > 0
        if not self._supported or not self._count.add(answered):
            return
        _log.warning(
            "the NATS server is cut off from its cluster, or has stopped; connecting to another one",
            extra={"servers_reached": answered, "servers": self._count.servers},
        )
        if answered == 0 and self._count.tried_all:
            self._supported = False
        abort(client)
        await client.force_reconnect()


def _first_rounds(rounds: int) -> float:
    return _ROUND_SECONDS if rounds < _MISSED_AGAIN else _UNSUPPORTED_ROUND_SECONDS


def abort(client: Client) -> None:
    """Drop the connection with what waits to be written: nats-py would wait until a server that has stopped reads it."""
    writer = getattr(client._transport, "_io_writer", None)  # nats-py has no public access to its transport
    if writer is not None and writer.transport is not None:
        writer.transport.abort()
