"""Assembles what publishes to pages that are open."""

from datetime import UTC, datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.runtime.process.lifecycle import Service
from services.usage_ledger.dead_letter_stream import DeadLetterStream
from services.usage_ledger.live.credit_amounts import CreditAmountStore
from services.usage_ledger.live.publisher import LivePublisher


def publish_live(service: Service, readers: AsyncEngine, dead_letters: DeadLetterStream) -> LivePublisher:
    """Return what publishes while the service runs; `readers` are connections on which nothing is recorded."""
    bus = service.bus

    async def publish(subject: str, data: bytes) -> None:
        await bus.client.publish(subject, data)

    live = LivePublisher(publish, CreditAmountStore(readers).read, partial(datetime.now, UTC))
    dead_letters.on_count = live.count_dead_letters
    service.opens(live.start, live.stop)
    return live
