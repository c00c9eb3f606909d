"""Ingestion of changes of health from the stream CHANGES into their table, each once, and the outages that follow from them."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from nats.aio.msg import Msg

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.health import Health, ListOutages, Outages
from keyferry.contracts.topology import HEALTH_CHANGED
from services.usage_ledger.dead_letter import RejectedRecord
from services.usage_ledger.outage_store import OutageStore
from services.usage_ledger.replayed_record import RawRecord, RecordedAgain

_log = logging.getLogger(__name__)

_PURGE_INTERVAL = timedelta(hours=1)
_DEFAULT_SPAN = timedelta(days=7)

PublishDeadLetter = Callable[[RejectedRecord], Awaitable[None]]
"""Raises when the dead letter is not stored."""


class EmptySpan(ValueError):
    """A span of time that ends before it begins. The message can be shown."""


class HealthHistory:
    """Records changes of health, and lists outages."""

    def __init__(
        self, store: OutageStore, publish_dead_letter: PublishDeadLetter, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._publish_dead_letter = publish_dead_letter
        self._clock = clock
        self._purged_at: datetime | None = None
        self.recorded = 0
        """New changes since the start of this process."""

    async def on_changes(self, messages: list[Msg]) -> None:
        """Record changes; known ones are skipped by id. Raises when they have to be redelivered."""
        changes: dict[str, Health] = {}
        for message in messages:
            try:
                change = _decode(message.subject, message.data)
            except MalformedMessage as error:
                await self._reject(_rejected(message.subject, message.data, str(error)))
                continue
            changes[change.change_id] = change
        now = self._clock()
        self.recorded += await self._store.record_changes(list(changes.values()), now)
        if self._purged_at is None or not timedelta(0) <= now - self._purged_at < _PURGE_INTERVAL:
            self._purged_at = now
            await self._store.purge(now)

    async def list_outages(self, command: ListOutages) -> Outages:
        """Return the outages in a span of time, newest first. Raises EmptySpan and DatabaseUnavailable."""
        now = self._clock()
        until = _utc(command.until) if command.until else now
        since = _utc(command.since) if command.since else until - _DEFAULT_SPAN
        if until <= since:
            raise EmptySpan("`until` must be later than `since`: the first is excluded, the second not")
        outages, more = await self._store.list_outages(command.tenant, since, until, command.limit, now)
        return Outages(outages=outages, more=more)

    async def replay(self, record: RawRecord) -> RecordedAgain:
        """Record the change of a dead letter, unless it is there already."""
        try:
            change = _decode(record.subject, record.data)
        except MalformedMessage as error:
            return RecordedAgain(rejected=[_rejected(record.subject, record.data, str(error))])
        new = await self._store.record_changes([change], self._clock())
        self.recorded += new
        return RecordedAgain(new=new, known=1 - new)

    async def _reject(self, rejected: RejectedRecord) -> None:
        _log.error("a change of health was rejected", extra={"provider": rejected.producer, "reason": rejected.reason})
        await self._publish_dead_letter(rejected)


def _decode(subject: str, data: bytes) -> Health:
    change = Health.decode(data)
    if subject != HEALTH_CHANGED.format(provider=change.target.provider):
        raise MalformedMessage("Health", "it is about another provider than its subject")
    return _zoned(change)


def _rejected(subject: str, data: bytes, reason: str) -> RejectedRecord:
    return RejectedRecord(
        original=data, reason=reason, producer=subject.rpartition(".")[2], stream=HEALTH_CHANGED.stream or ""
    )


def _zoned(change: Health) -> Health:
    until = None if change.until is None else _utc(change.until)
    return change.model_copy(update={"changed_at": _utc(change.changed_at), "until": until})


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
