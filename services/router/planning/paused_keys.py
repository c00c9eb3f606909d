"""Which provider keys may have a pause or a pace of their own: all others need no look-up of it. Pure."""

from collections import Counter
from collections.abc import Callable

from keyferry.contracts.health import Health


class PausedKeys:
    """The ids of keys that the health view has entries of, and of those that this router knows to pause. A container of them."""

    def __init__(self, may_pause: Callable[[str], bool]) -> None:
        """`may_pause` returns whether the router itself may know of a pause of a key."""
        self._may_pause = may_pause
        self._by_entry: dict[str, str] = {}
        """The id of the key that an entry of the view is about, by the entry's key."""
        self._in_view: Counter[str] = Counter()

    def replace(self, key: str, entry: Health | None) -> None:
        """Take the change of one entry of the health view; None if it is gone."""
        if (before := self._by_entry.pop(key, None)) is not None:
            self._in_view[before] -= 1
            if not self._in_view[before]:
                del self._in_view[before]
        if entry is not None and entry.target.key_id is not None:
            self._by_entry[key] = entry.target.key_id
            self._in_view[entry.target.key_id] += 1

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._in_view or (isinstance(key_id, str) and self._may_pause(key_id))
