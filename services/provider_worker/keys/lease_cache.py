"""The leased keys that a worker holds, each for as long as its lease, and no longer than its entry in the view allows. Pure."""

from dataclasses import dataclass
from datetime import datetime

from keyferry.contracts.key import USABLE, KeyFacts
from keyferry.sealing.leased import LeasedKey


@dataclass(frozen=True, slots=True)
class Now:
    """A moment by both clocks: a lease is over when either of them says so.

    The wall clock can be set back, and the monotonic one stands still while a machine sleeps.
    """

    unix_ms: int
    monotonic_ms: int


@dataclass(frozen=True, slots=True)
class _Held:
    key: LeasedKey
    until_monotonic_ms: int


def is_usable(key: LeasedKey, facts: KeyFacts | None, unix_ms: int) -> bool:
    """Whether the view says that this version of the key may be used, at the same place. `facts` are the view's entry."""
    return (
        facts is not None
        and facts.version == key.version
        and facts.origin == key.origin
        and facts.status in USABLE
        and not facts.over_limit
        and not _expired(facts.expires_at, unix_ms)
    )


def _expired(expires_at: datetime | None, unix_ms: int) -> bool:
    return expires_at is not None and expires_at.timestamp() * 1000 <= unix_ms


class LeaseCache:
    """At most one version of each key, by owner and key id."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def held(self) -> list[LeasedKey]:
        """What is held now, over or not."""
        return [held.key for held in self._held.values()]

    def put(self, key: LeasedKey, until_monotonic_ms: int) -> None:
        """Hold a key until its lease is over by either clock."""
        self._held[key.owner, key.key_id] = _Held(key, until_monotonic_ms)

    def get(self, owner: str, key_id: str, facts: KeyFacts | None, now: Now) -> LeasedKey | None:
        """The key, if its lease lasts and the view's entry allows it; else it is forgotten."""
        if (held := self._held.get((owner, key_id))) is None:
            return None
        if _lasts(held, now) and is_usable(held.key, facts, now.unix_ms):
            return held.key
        del self._held[owner, key_id]
        return None

    def forget(self, key: LeasedKey) -> None:
        """Drop one."""
        self._held.pop((key.owner, key.key_id), None)

    def evict_expired(self, now: Now) -> None:
        """Drop what is over, so that a key that nobody asks for does not stay in memory."""
        self._held = {name: held for name, held in self._held.items() if _lasts(held, now)}

    def clear(self) -> None:
        """Drop everything."""
        self._held.clear()


def _lasts(held: _Held, now: Now) -> bool:
    return now.monotonic_ms < held.until_monotonic_ms and now.unix_ms < held.key.not_after_unix_ms
