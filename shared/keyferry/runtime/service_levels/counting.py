"""Good and bad events by slots of five minutes, until the usage ledger has recorded them. Pure."""

from collections.abc import Iterable
from datetime import datetime

from keyferry.contracts.service_levels import MAX_REPORTED_COUNTS, ServiceLevelName, SlotCount, slot_of

_MAX_SLOTS = MAX_REPORTED_COUNTS // len(ServiceLevelName)
"""Of each level: 20 hours of an outage of the ledger."""

_Key = tuple[datetime, ServiceLevelName]


class ServiceLevelCounts:
    """The counts of one process. An event costs a lookup and an addition."""

    def __init__(self) -> None:
        self._counts: dict[_Key, list[int]] = {}
        self._recorded: dict[_Key, tuple[int, int]] = {}
        self.totals = {name: [0, 0] for name in ServiceLevelName}
        """Good and bad events since the start of the process."""
        self.dropped = 0
        """Events of slots that were dropped, because the ledger was away for longer than slots are kept."""

    def add(self, name: ServiceLevelName, good: bool, now: datetime) -> None:
        """Count an event."""
        total = self.totals[name]
        total[not good] += 1
        counted = self._counts.get(key := (slot_of(now), name))
        if counted is None:
            counted = self._counts[key] = [0, 0]
            self._drop_oldest(name)
        counted[not good] += 1

    def pending(self) -> list[SlotCount]:
        """Return what is not recorded yet, the oldest slot first."""
        return [
            SlotCount(level=name.value, slot=slot, good=good, bad=bad)
            for (slot, name), (good, bad) in sorted(self._counts.items())
            if self._recorded.get((slot, name)) != (good, bad)
        ]

    def confirm(self, recorded: Iterable[SlotCount], now: datetime) -> None:
        """Note that the ledger has recorded these counts; slots that are over are then forgotten."""
        current = slot_of(now)
        for count in recorded:
            key = (count.slot, ServiceLevelName(count.level))
            if key in self._counts:
                self._recorded[key] = (count.good, count.bad)
        over = [key for key in self._recorded if key[0] < current and tuple(self._counts[key]) == self._recorded[key]]
        for key in over:
            del self._counts[key], self._recorded[key]

    def _drop_oldest(self, name: ServiceLevelName) -> None:
        slots = [slot for slot, of in self._counts if of is name]
        if len(slots) > _MAX_SLOTS:
            oldest = (min(slots), name)
            self.dropped += sum(self._counts.pop(oldest))
            self._recorded.pop(oldest, None)
