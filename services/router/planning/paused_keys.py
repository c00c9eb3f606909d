"""Which provider keys may have a pause or a pace of their own: all others need no look-up of it. Pure."""

from collections.abc import Callable, Iterable

from keyferry.contracts.health import Health


class PausedKeys:
    """The ids of keys that the health view has entries of, and of those that this router knows to pause. A container of them."""

    def __init__(self, may_pause: Callable[[str], bool]) -> None:
        """`may_pause` returns whether the router itself may know of a pause of a key."""
        self._may_pause = may_pause
        self._in_view: frozenset[str] = frozenset()

    def rebuild(self, entries: Iterable[Health]) -> None:
        """Replace the ids by those of the whole health view."""
        self._in_view = frozenset(entry.target.key_id for entry in entries if entry.target.key_id is not None)

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._in_view or (isinstance(key_id, str) and self._may_pause(key_id))
