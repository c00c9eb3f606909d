"""The table of counts: one row for each process, level and slot, which only grows."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Column, DateTime, Select, Table, Text, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from keyferry.contracts.service_levels import SLOT, WINDOWS, ServiceLevelName, SlotCount
from services.usage_ledger.database import TransactionalStore, metadata
from services.usage_ledger.service_levels.figures import EventCount

service_level_counts = Table(
    "service_level_counts",
    metadata,
    Column("slot", DateTime(timezone=True), primary_key=True),
    Column("level", Text, primary_key=True),
    Column("instance_id", Text, primary_key=True),
    Column("service", Text),
    Column("good", BigInteger),
    Column("bad", BigInteger),
)
_COLUMNS = service_level_counts.c


class MeasuredLevel:
    """The counts of one level: in the period, and in each window with events."""

    def __init__(self, period: EventCount, windows: dict[timedelta, EventCount], first_slot: datetime) -> None:
        self.period = period
        self.windows = windows
        self.first_slot = first_slot


class ServiceLevelStore(TransactionalStore):
    """Reads and writes counts. Every method raises DatabaseUnavailable."""

    async def record(self, instance_id: str, service: str, counts: Sequence[SlotCount]) -> None:
        """Store the counts of a process. A report that arrives twice, or after a later one, changes nothing."""
        rows = [
            {"instance_id": instance_id, "service": service, "level": each.level, "slot": each.slot, "good": each.good}
            | {"bad": each.bad}
            for each in sorted(counts, key=lambda each: (each.slot, each.level))
        ]
        given = insert(service_level_counts)
        statement = given.on_conflict_do_update(
            index_elements=[_COLUMNS.slot, _COLUMNS.level, _COLUMNS.instance_id],
            set_={name: func.greatest(_COLUMNS[name], given.excluded[name]) for name in ("good", "bad")},
        )
        async with self.transaction() as connection:
            await connection.execute(statement, rows)

    async def remove_before(self, moment: datetime) -> int:
        """Remove the counts of slots before `moment`; return how many rows that were."""
        async with self.transaction() as connection:
            return (await connection.execute(delete(service_level_counts).where(_COLUMNS.slot < moment))).rowcount

    async def measure(self, since: datetime, now: datetime) -> dict[ServiceLevelName, MeasuredLevel]:
        """Add up every level from `since` on. A window has whole slots, so it is up to a slot longer than its name."""
        async with self.transaction() as connection:
            found = (await connection.execute(_sums(min(since, now - max(WINDOWS)), since, now))).mappings().all()
        return {
            ServiceLevelName(row["level"]): MeasuredLevel(
                EventCount(int(row["good"]), int(row["bad"])),
                {
                    window: EventCount(int(row[f"good_{index}"]), int(row[f"bad_{index}"]))
                    for index, window in enumerate(WINDOWS)
                    if row[f"good_{index}"] or row[f"bad_{index}"]
                },
                row["first_slot"],
            )
            for row in found
            if row["level"] in set(ServiceLevelName)
        }


def _sums(earliest: datetime, since: datetime, now: datetime) -> Select[tuple[object, ...]]:
    spans = {"": since} | {f"_{index}": now - window for index, window in enumerate(WINDOWS)}
    sums = [
        func.coalesce(func.sum(_COLUMNS[name]).filter(_COLUMNS.slot > begin - SLOT), 0).label(name + suffix)
        for suffix, begin in spans.items()
        for name in ("good", "bad")
    ]
    return (
        select(_COLUMNS.level, func.min(_COLUMNS.slot).label("first_slot"), *sums)
        .where(_COLUMNS.slot > earliest - SLOT, _COLUMNS.slot <= now)
        .group_by(_COLUMNS.level)
    )
