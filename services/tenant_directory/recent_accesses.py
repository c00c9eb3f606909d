"""Which accesses of operators were recorded in the last minutes, so that they are recorded once. Pure."""

from collections import OrderedDict
from datetime import datetime, timedelta

from keyferry.contracts.access_management import COALESCED_SECONDS, RecordAccess

_MOST = 10_000
"""Accesses that are remembered. One that is forgotten early is recorded once more, which loses nothing."""


class RecentAccesses:
    """The accesses of one process. Several processes record an access up to once each."""

    def __init__(self) -> None:
        self._recorded: OrderedDict[tuple[str, str, str], datetime] = OrderedDict()

    def includes(self, access: RecordAccess, now: datetime) -> bool:
        """Return whether an entry stands for this access at `now` (UTC)."""
        recorded = self._recorded.get(_key(access))
        return recorded is not None and timedelta(0) <= now - recorded < timedelta(seconds=COALESCED_SECONDS)

    def add(self, access: RecordAccess, now: datetime) -> None:
        """Remember that this access was recorded at `now`."""
        self._recorded[_key(access)] = now
        self._recorded.move_to_end(_key(access))
        while len(self._recorded) > _MOST:
            self._recorded.popitem(last=False)


def _key(access: RecordAccess) -> tuple[str, str, str]:
    return access.actor, access.tenant, access.resource
