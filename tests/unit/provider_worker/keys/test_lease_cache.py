"""A leased key is cached until its lease ends by either clock, and no longer than the view allows."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.secret import Secret
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.keys.lease_cache import LeaseCache, Now, is_usable
from tests.support.vault.vault_double import key_facts

UNIX_MS, MONOTONIC_MS = 1_900_000_000_000, 5_000
START = Now(UNIX_MS, MONOTONIC_MS)
FACTS = key_facts()


def leased(facts: KeyFacts = FACTS, seconds: int = 60) -> LeasedKey:
    return LeasedKey(
        owner=facts.tenant,
        provider=facts.provider,
        key_id=facts.key_id,
        version=facts.version,
        origin=facts.origin,
        not_after_unix_ms=UNIX_MS + seconds * 1000,
        key=Secret("sk-0123456789"),
    )


def holding(key: LeasedKey) -> LeaseCache:
    cache = LeaseCache()
    cache.put(key, MONOTONIC_MS + 60_000)
    return cache


def test_a_key_is_held_for_its_lease() -> None:
    cache = holding(key := leased())
    assert cache.get("acme", FACTS.key_id, FACTS, Now(UNIX_MS + 59_999, MONOTONIC_MS + 59_999)) is key
    assert cache.get("other", FACTS.key_id, FACTS, START) is None
    assert cache.get("acme", "key_0002", FACTS, START) is None


@pytest.mark.parametrize(
    "now",
    [
        Now(UNIX_MS + 60_000, MONOTONIC_MS + 1),
        Now(UNIX_MS - 3_600_000, MONOTONIC_MS + 60_000),
        Now(UNIX_MS + 60_000, MONOTONIC_MS + 60_000),
    ],
    ids=["the machine slept", "the clock was set back", "both"],
)
def test_either_clock_ends_a_lease(now: Now) -> None:
    cache = holding(leased())
    assert cache.get("acme", FACTS.key_id, FACTS, now) is None
    assert len(cache) == 0


@pytest.mark.parametrize(
    "changed",
    [
        None,
        key_facts(version=2),
        key_facts(origin="https://evil.example"),
        key_facts(status=KeyStatus.INVALID),
        key_facts(status=KeyStatus.DISABLED),
        key_facts(status=KeyStatus.EXPIRED),
        key_facts(status=KeyStatus.UNDECRYPTABLE),
        FACTS.model_copy(update={"over_limit": True}),
        FACTS.model_copy(update={"expires_at": datetime.fromtimestamp(UNIX_MS / 1000, UTC)}),
    ],
)
def test_the_view_ends_a_lease(changed: KeyFacts | None) -> None:
    cache = holding(key := leased())
    assert not is_usable(key, changed, UNIX_MS)
    assert cache.get("acme", FACTS.key_id, changed, START) is None
    assert len(cache) == 0, "what is not good any more does not stay in memory"


@pytest.mark.parametrize("status", [KeyStatus.UNTESTED, KeyStatus.VALID, KeyStatus.DEGRADED])
def test_other_changes_leave_it(status: KeyStatus) -> None:
    changed = key_facts(status=status).model_copy(update={"label": "renamed", "priority": 1, "weight": 7})
    assert holding(leased()).get("acme", FACTS.key_id, changed, START) is not None


def test_a_new_version_replaces_the_last() -> None:
    cache = holding(leased())
    newer = leased(key_facts(version=2))
    cache.put(newer, MONOTONIC_MS + 60_000)
    assert cache.all() == [newer]


def test_expired_keys_are_evicted_without_a_request() -> None:
    cache = holding(leased())
    cache.evict_expired(START)
    assert len(cache) == 1
    cache.evict_expired(Now(UNIX_MS + 60_000, MONOTONIC_MS))
    assert len(cache) == 0


@pytest.mark.parametrize(("late_by_ms", "usable"), [(-1, True), (0, False), (1, False)])
def test_a_key_is_usable_until_the_millisecond_in_which_it_expires(late_by_ms: int, usable: bool) -> None:
    facts = FACTS.model_copy(update={"expires_at": datetime.fromtimestamp(UNIX_MS / 1000, UTC)})
    assert is_usable(leased(), facts, UNIX_MS + late_by_ms) is usable


def test_a_key_that_is_not_held_can_be_dropped() -> None:
    cache = LeaseCache()
    cache.evict(leased())
    assert len(cache) == 0
