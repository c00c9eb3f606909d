"""Collects the reports of every process of every service over the bus."""

import asyncio

from nats.aio.msg import Msg

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.service import Ping, ServiceReport
from keyferry.contracts.topology import SERVICE_PING
from keyferry.runtime.bus.connection import Bus

WITHIN_SECONDS = 0.5
"""A process that is alive answers within milliseconds."""


class ReportCollector:
    """Asks over one connection to the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def __call__(self) -> list[ServiceReport]:
        """Return the reports that arrive within half a second. Malformed ones are ignored. Raises nats-py's errors."""
        client, reports = self._bus.client, list[ServiceReport]()

        async def on_reply(message: Msg) -> None:
            try:
                reports.append(ServiceReport.decode(message.data))
            except MalformedMessage:
                return  # this includes the server's empty "no responders" message

        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=on_reply)
        try:
            await client.publish(SERVICE_PING.format(), Ping().encode(), reply=inbox)
            await asyncio.sleep(WITHIN_SECONDS)
        finally:
            await subscription.unsubscribe()
        return reports
