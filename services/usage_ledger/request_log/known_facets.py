"""Facets that are committed already: in a quarter hour a tenant has few, and each of its attempts has a dozen of them. Pure."""

from collections.abc import MutableMapping
from typing import Any

from services.usage_ledger.request_log.facets import QuarterFacets

_MAX_NAMES = 200_000
"""Names that are remembered, some ten megabytes; beyond that all are forgotten, which costs a look-up in the table each."""
_SEEN = "facets are remembered"


class KnownFacets:
    """The facets that this process knows to be in the table, where they are never removed."""

    def __init__(self, max_names: int = _MAX_NAMES) -> None:
        self._max_names = max_names
        self._known: QuarterFacets = {}
        self._number = 0

    def follow(self, connection_info: MutableMapping[Any, Any]) -> None:
        """Forget everything on a connection that was not used before: the database may have lost commits and been restarted."""
        if _SEEN not in connection_info:
            connection_info[_SEEN] = True
            self._forget()

    def missing(self, found: QuarterFacets) -> QuarterFacets:
        """Return those that may not be in the table."""
        new: QuarterFacets = {}
        for key, names in found.items():
            known = self._known.get(key)
            missing = names if known is None else names - known
            if missing:
                new[key] = missing
        return new

    def add(self, committed: QuarterFacets) -> None:
        """Remember facets, after the transaction that inserted them was committed."""
        self._number += sum(map(len, committed.values()))
        if self._number > self._max_names:
            self._forget()
            return
        for key, names in committed.items():
            self._known.setdefault(key, set()).update(names)

    def _forget(self) -> None:
        self._known.clear()
        self._number = 0
