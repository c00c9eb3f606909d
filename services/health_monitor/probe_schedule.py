"""When which address is probed: after five idle minutes, again after as long, and sooner while it does not answer. Pure."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

IDLE = timedelta(minutes=5)
_JITTER = 0.1
"""Share of the interval by which a probe comes sooner or later, so that addresses are not all probed at once."""
_RECHECK = timedelta(seconds=10)
"""After a probe that could not connect: soon it is known whether it was more than a short interruption."""
_RECHECKS = 3
_UNREACHABLE_INTERVAL = timedelta(seconds=60)
"""The interval while an address stays unreachable: so long an open circuit waits at most after it answers again."""


@dataclass(slots=True)
class _Planned:
    at: datetime
    unreached: int = 0


class ProbeSchedule:
    """The next probe of each idle address. `jitter` returns numbers from 0 to 1, `now` is in UTC and may jump."""

    def __init__(self, jitter: Callable[[], float], idle: timedelta = IDLE) -> None:
        self._jitter = jitter
        self._idle = idle
        self._planned: dict[str, _Planned] = {}

    def __len__(self) -> int:
        return len(self._planned)

    def due(self, idle: Collection[str], now: datetime, limit: int) -> list[str]:
        """Return up to `limit` of the idle addresses that are to be probed now, longest due first.

        Each counts as probed. An address that is not idle any more is forgotten.
        """
        self._planned = {address: planned for address, planned in self._planned.items() if address in idle}
        for address in idle:
            # An address becomes idle exactly when its first probe is due; the jitter spreads what became idle together.
            planned = self._planned.setdefault(address, _Planned(now + self._idle * (_JITTER * self._jitter())))
            if planned.at > now + self._idle * (1 + _JITTER):
                planned.at = now  # the clock was set back
        due = sorted((planned.at, address) for address, planned in self._planned.items() if planned.at <= now)
        addresses = [address for _, address in due[:limit]]
        for address in addresses:
            self._planned[address].at = now + self._idle * (1 - _JITTER + 2 * _JITTER * self._jitter())
        return addresses

    def record(self, address: str, reachable: bool | None, now: datetime) -> None:
        """Record the result of a probe; None proves nothing."""
        planned = self._planned.get(address)
        if planned is None:
            return
        if reachable is not False:
            planned.unreached = 0
            return
        planned.unreached += 1
        wait = _RECHECK if planned.unreached < _RECHECKS else _UNREACHABLE_INTERVAL
        planned.at = min(planned.at, now + wait * (1 - _JITTER * self._jitter()))
