"""The leased keys that a worker holds: each until its lease ends, and no longer than its entry in the view allows. Pure."""

from dataclasses import dataclass
from datetime import datetime

from keyferry.contracts.key import USABLE, KeyFacts
from keyferry.sealing.leased import LeasedKey


@dataclass(frozen=True, slots=True)
class Now:
    """A moment by both clocks: a lease ends when either of them says so.

    The wall clock can be set back, and the monotonic one stands still while a machine sleeps.
    """

    unix_ms: int
    monotonic_ms: int


@dataclass(frozen=True, slots=True)
class _Entry:
    key: LeasedKey
    until_monotonic_ms: int


def is_usable(key: LeasedKey, facts: KeyFacts | None, unix_ms: int) -> bool:
    """Return whether the view allows this version of the key at its origin. `facts` is the view's entry."""
    return (
        facts is not None
        and facts.version == key.version
        and facts.origin == key.origin
        and facts.status in USABLE
        and not facts.over_limit
        and not _is_expired(facts.expires_at, unix_ms)
    )


def _is_expired(expires_at: datetime | None, unix_ms: int) -> bool:
    return expires_at is not None and expires_at.timestamp() * 1000 <= unix_ms


class LeaseCache:
    """At most one version of each key, by owner and key id."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def all(self) -> list[LeasedKey]:
        """Return every key, expired or not."""
        return [entry.key for entry in self._entries.values()]

    def put(self, key: LeasedKey, until_monotonic_ms: int) -> None:
        """Hold a key until its lease ends by either clock."""
        self._entries[key.owner, key.key_id] = _Entry(key, until_monotonic_ms)

    def get(self, owner: str, key_id: str, facts: KeyFacts | None, now: Now) -> LeasedKey | None:
        """Return the key if its lease lasts and the view's entry allows it; evict it otherwise."""
        if (entry := self._entries.get((owner, key_id))) is None:
            return None
        if _lasts(entry, now) and is_usable(entry.key, facts, now.unix_ms):
            return entry.key
        del self._entries[owner, key_id]
        return None

    def evict(self, key: LeasedKey) -> None:
        """Drop one key."""
        self._entries.pop((key.owner, key.key_id), None)

    def evict_expired(self, now: Now) -> None:
        """Drop what has expired, so that a key that is not requested again does not stay in memory."""
        self._entries = {name: entry for name, entry in self._entries.items() if _lasts(entry, now)}

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()


def _lasts(entry: _Entry, now: Now) -> bool:
    return now.monotonic_ms < entry.until_monotonic_ms and now.unix_ms < entry.key.not_after_unix_ms
