"""Partitions by month: their names and bounds, which to make, and which to detach and to drop.

An id has the time at which it was made, so a month in UTC is a range of ids in the order of bytes. Pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from keyferry.contracts import ids

PREFIXES: Mapping[str, str] = {"attempts": ids.ATTEMPT, "decisions": ids.DECISION}
"""The prefix of the ids of each partitioned table."""
KEYS: Mapping[str, str] = {"attempts": "attempt_id", "decisions": "decision_id"}
MONTHS_AHEAD = 3
"""So many months after this one have a partition, so that a job that does not run for a quarter does no harm."""
_BOUNDS = re.compile(r"FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)")


class Month(NamedTuple):
    """A month in UTC."""

    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime) -> "Month":
        """Return the month of a moment."""
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    @property
    def begins_at(self) -> datetime:
        """The first moment of the month."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    def plus(self, months: int) -> "Month":
        """Return the month that comes so many months later."""
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Month(year, month + 1)

    def __str__(self) -> str:
        return f"{self.year}_{self.month:02}"


@dataclass(frozen=True, slots=True)
class IdRange:
    """A range of ids: from the first, until before the second."""

    from_id: str
    until_id: str

    @property
    def begins_at(self) -> datetime:
        """The time of the first id that it can hold."""
        return _moment_of(self.from_id)

    @property
    def ends_at(self) -> datetime:
        """The time at which its last ids are made."""
        return _moment_of(self.until_id)


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of a table; `bounds` is None for the one that takes all other ids."""

    table: str
    name: str
    bounds: IdRange | None


@dataclass(frozen=True, slots=True)
class Retention:
    """After how many days what leaves; None for what stays for ever."""

    attempts_days: int | None
    decisions_days: int | None
    detached_days: int | None
    """How long a detached partition stays before it is dropped."""

    def days_of(self, table: str) -> int | None:
        """Return how long rows of a table are kept at least."""
        return self.attempts_days if table == "attempts" else self.decisions_days

    def detached_at(self, partition: Partition) -> datetime | None:
        """Return when a partition is detached; None if it stays."""
        days = self.days_of(partition.table)
        if days is None or partition.bounds is None:
            return None
        return partition.bounds.ends_at + timedelta(days=days)


def bounds_of(table: str, month: Month) -> IdRange:
    """Return the ids of a table that are made in a month."""
    prefix = PREFIXES[table]
    first, end = (round(one.begins_at.timestamp() * 1000) for one in (month, month.plus(1)))
    return IdRange(ids.first_at(prefix, first), ids.first_at(prefix, end))


def parse_bounds(expression: str) -> IdRange | None:
    """Return the bounds in PostgreSQL's description of a partition; None for the default partition."""
    match = _BOUNDS.fullmatch(expression)
    return IdRange(match[1], match[2]) if match else None


def missing(existing: Iterable[Partition], now: datetime) -> Iterator[Partition]:
    """Yield the partitions of this month and the next ones that do not exist."""
    ends: dict[str, str] = {}
    for partition in existing:
        if partition.bounds is not None:
            ends[partition.table] = max(ends.get(partition.table, ""), partition.bounds.until_id)
    for table in PREFIXES:
        for ahead in range(MONTHS_AHEAD + 1):
            month = Month.of(now).plus(ahead)
            bounds = bounds_of(table, month)
            if bounds.from_id >= ends.get(table, ""):
                yield Partition(table, f"{table}_{month}", bounds)


def outdated(existing: Sequence[Partition], retention: Retention, now: datetime) -> list[Partition]:
    """Return the partitions that retention lets go, oldest first."""
    found = [one for one in existing if (at := retention.detached_at(one)) is not None and at <= now]
    return sorted(found, key=lambda one: (one.table, one.bounds.from_id if one.bounds else ""))


def _moment_of(bound: str) -> datetime:
    return datetime.fromtimestamp(ids.unix_ms_of(bound) / 1000, UTC)
