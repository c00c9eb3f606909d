"""From the stream ALERTS into the queue: each change once for each target, in the order of its rule.

The position of a rule, what waits for a predecessor, and the deliveries are committed together, and only then is the batch
acknowledged. The lock on the position keeps two replicas from working on one rule at the same time.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from nats.aio.msg import Msg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.alert_management import ALERT_CHANGED
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.topology import Role, consumer_of
from keyferry.contracts.webhooks import WebhookEventType
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier.delivery.item import OWNERS, NewDelivery
from services.notifier.delivery.queue import add_deliveries
from services.notifier.intake.routing import KnownChannel, deliveries_of
from services.notifier.intake.sequencing import take_in_order
from services.notifier.intake.subscriptions import subscribed_endpoints
from services.notifier.target_store import add_target

_log = logging.getLogger(__name__)

WAIT_FOR_PREDECESSOR = consumer_of(Role.NOTIFIER, ALERT_CHANGED).ack_wait + timedelta(seconds=10)
"""Longer than it takes until the bus delivers again what a killed process had. What comes still later goes on then."""
_LOOK_EVERY_SECONDS = 2.0
_BEGIN = text("""
INSERT INTO notifier.alert_positions (tenant, rule_id, last_sequence) VALUES (:tenant, :rule_id, 0) ON CONFLICT DO NOTHING
""")
_POSITION = text("""
SELECT last_sequence, skipped FROM notifier.alert_positions WHERE tenant = :tenant AND rule_id = :rule_id FOR UPDATE
""")
_ADVANCE = text("""
UPDATE notifier.alert_positions SET last_sequence = :position, skipped = :skipped WHERE tenant = :tenant AND rule_id = :rule_id
""")
_TAKE_EARLY = text("""
DELETE FROM notifier.early_alerts WHERE tenant = :tenant AND rule_id = :rule_id RETURNING payload, received_at
""")
_KEEP_EARLY = text("""
INSERT INTO notifier.early_alerts (tenant, rule_id, sequence, payload, received_at)
VALUES (:tenant, :rule_id, :sequence, :payload, :received_at) ON CONFLICT DO NOTHING
""")
_OVERDUE = text("SELECT DISTINCT tenant, rule_id FROM notifier.early_alerts WHERE received_at < :before LIMIT 100")
_CHANNELS = text("""
SELECT channels.tenant, channel_id, targets.enabled, coalesce((terms ->> 'usual')::boolean, true) AS usual,
    terms ->> 'endpoint_id' AS endpoint_id
FROM notifier.channels JOIN notifier.targets ON target_id = channel_id
WHERE channels.tenant = ANY(:tenants) ORDER BY created_at, channel_id
""")

_Rule = tuple[str, str]


class AlertIntake:
    """Takes changes of alerts in. `committed` is called after each transaction that added something."""

    def __init__(self, database: ServiceDatabase, committed: Callable[[], None], clock: Callable[[], datetime]) -> None:
        self._database = database
        self._committed = committed
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def on_alerts(self, batch: list[Msg]) -> None:
        """Add the deliveries of a batch. Raises DatabaseUnavailable, so that the batch comes again."""
        await self.take([change for message in batch if (change := _decode(message)) is not None])

    async def take(self, changes: Iterable[AlertChanged], *, skip_gaps: Sequence[_Rule] = ()) -> None:
        """Add the deliveries of changes, and those that waited for them. Raises DatabaseUnavailable."""
        arrived: dict[_Rule, dict[int, AlertChanged]] = defaultdict(dict)
        for change in changes:
            arrived[change.tenant, change.rule_id][change.sequence] = change
        rules = sorted({*arrived, *skip_gaps})
        if not rules:
            return
        now = self._clock()
        async with self._database.change() as transaction:
            connection = transaction.connection
            ready: list[AlertChanged] = []
            for rule in rules:
                ready += await _advance(connection, rule, arrived.get(rule, {}), now, skip_gaps=rule in skip_gaps)
            await add_deliveries(connection, await _route(connection, ready), now)
        self._committed()

    async def start(self) -> None:
        """Begin to look for changes whose predecessors do not come."""
        self._task = asyncio.create_task(self._run(), name="look for gaps in alerts")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def release_overdue(self) -> None:
        """Let changes go on that have waited for long enough. Raises DatabaseUnavailable."""
        async with self._database.read() as connection:
            found = await connection.execute(_OVERDUE, {"before": self._clock() - WAIT_FOR_PREDECESSOR})
            rules = [(row.tenant, row.rule_id) for row in found]
        for tenant, rule_id in rules:
            _log.warning("changes of an alert are missing; going on", extra={"tenant": tenant, "rule": rule_id})
        await self.take((), skip_gaps=rules)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            try:
                await self.release_overdue()
            except DatabaseUnavailable:
                continue
            except Exception:  # the loop must survive any defect
                _log.exception("cannot look for gaps in alerts; retrying")


def _decode(message: Msg) -> AlertChanged | None:
    try:
        change = AlertChanged.decode(message.data)
    except MalformedMessage as error:
        _log.warning("skipped a malformed change of an alert", extra={"reason": str(error)})
        return None
    return change if ALERT_CHANGED.matches(message.subject, change) else None


async def _advance(
    connection: AsyncConnection, rule: _Rule, arrived: Mapping[int, AlertChanged], now: datetime, *, skip_gaps: bool
) -> list[AlertChanged]:
    """Return the changes of a rule that go on now, and move its position behind them."""
    key = {"tenant": rule[0], "rule_id": rule[1]}
    await connection.execute(_BEGIN, key)
    before = (await connection.execute(_POSITION, key)).one()
    since: dict[int, datetime] = {}
    together = dict(arrived)
    for row in await connection.execute(_TAKE_EARLY, key):
        change = AlertChanged.decode(row.payload.encode())
        since[change.sequence] = row.received_at
        together[change.sequence] = change
    found = take_in_order(before.last_sequence, together, before.skipped, skip_gaps=skip_gaps)
    if (found.position, found.skipped) != (before.last_sequence, before.skipped):
        await connection.execute(_ADVANCE, key | {"position": found.position, "skipped": found.skipped})
    if found.waiting:
        rows = [
            key | {"sequence": number, "payload": change.model_dump_json(), "received_at": since.get(number, now)}
            for number, change in found.waiting.items()
        ]
        await connection.execute(_KEEP_EARLY, rows)
    return found.ready


async def _route(connection: AsyncConnection, changes: Sequence[AlertChanged]) -> list[NewDelivery]:
    if not changes:
        return []
    tenants = sorted({change.tenant for change in changes})
    known: dict[str, dict[str, KnownChannel]] = defaultdict(dict)
    for row in await connection.execute(_CHANNELS, {"tenants": tenants}):
        known[row.tenant][row.channel_id] = KnownChannel(row.channel_id, row.enabled, row.usual, row.endpoint_id)
    endpoints = await subscribed_endpoints(connection, WebhookEventType.ALERT_CHANGED, tenants)
    new = [
        delivery
        for change in changes
        for delivery in deliveries_of(change, known[change.tenant], endpoints.get(change.tenant, ()))
    ]
    for tenant in {delivery.tenant for delivery in new if delivery.target_id.startswith(OWNERS)}:
        await add_target(connection, tenant, f"{OWNERS}{tenant}")
    return new
