"""From the streams CHANGES and PAYMENTS into the queue, for tenants whose endpoints chose such events."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import cast

from nats.aio.msg import Msg

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.webhooks import WebhookEventType
from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier.delivery.item import NewDelivery
from services.notifier.delivery.queue import add_deliveries
from services.notifier.intake.change_events import (
    CHANGE_SUBJECTS,
    Change,
    deliveries_of_change,
    event_id_of,
    event_type_of,
)
from services.notifier.intake.subscriptions import subscribed_endpoints

_log = logging.getLogger(__name__)


class ChangeIntake:
    """Takes changes in. `committed` is called after each batch that added something."""

    def __init__(self, database: ServiceDatabase, committed: Callable[[], None], clock: Callable[[], datetime]) -> None:
        self._database = database
        self._committed = committed
        self._clock = clock

    async def on_changes(self, batch: list[Msg]) -> None:
        """Add the deliveries of a batch. Raises DatabaseUnavailable, so that the batch comes again."""
        read = [found for message in batch if (found := _read(message)) is not None]
        if not read:
            return
        async with self._database.change() as change:
            types = {event_type for event_type, *_ in read}
            chosen = {each: await subscribed_endpoints(change.connection, each) for each in types}
            new: list[NewDelivery] = []
            for event_type, body, event_id, at in read:
                new += deliveries_of_change(event_type, body, event_id, at, chosen[event_type])
            await add_deliveries(change.connection, new, self._clock())
        if new:
            self._committed()


def _read(message: Msg) -> tuple[WebhookEventType, Change, str, datetime] | None:
    event_type = event_type_of(message.subject)
    if event_type is None:
        return None
    subject = CHANGE_SUBJECTS[event_type]
    try:
        change = subject.message.decode(message.data)
    except MalformedMessage as error:
        _log.warning("skipped a malformed change", extra={"subject": message.subject, "reason": str(error)})
        return None
    if not subject.matches(message.subject, change):
        return None
    place = message.metadata
    event_id = event_id_of(change, message.subject, place.sequence.stream, place.timestamp)
    return event_type, cast(Change, change), event_id, place.timestamp
