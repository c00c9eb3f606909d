"""Timings of removals of keys in use: how long a worker still uses a removed key."""

import time
from collections.abc import Iterable
from pathlib import Path

from tests.bench.failure import BenchError
from tests.bench.keys import REMOVED_ANSWERED, REMOVED_ASKED
from tests.bench.keys.timing import Timing, timing
from tests.support.vault.key_removals import remove_keys
from tests.support.vault.keyed_system import running_keyed_system, under_load

_KEYS = 100
_RATE_PER_SECOND = 200.0
_USED = 20
"""How often each key is used before it is removed, so that both workers hold it."""


def measure(directory: Path) -> list[Timing]:
    """Time consecutive removals of a hundred keys in the whole embedded system under 200 requests a second.

    Raises:
        BenchError: a request failed, or the machine cannot handle the load.
    """
    with running_keyed_system(directory / "home") as keyed_system:
        account, first = keyed_system.new_tenant("removing", keys="own"), keyed_system.provider.issue()
        keyed_system.add(account.tenant, first, "--priority", str(_KEYS + 2))
        account.wait_until_paid_with(first)
        began = time.monotonic()
        with under_load(account, _RATE_PER_SECOND) as load:
            try:
                removed = remove_keys(keyed_system, account, _KEYS, used=_USED)
            except AssertionError as error:  # how the test support reports a timeout
                raise BenchError(f"keys could not be removed under load: {error}") from None
            elapsed_seconds = time.monotonic() - began
        if failed := sum(not ending.whole for ending in load.endings().values()):
            raise BenchError(f"{failed} of {len(load.sent)} requests failed while keys were removed")
    return [
        timing(REMOVED_ASKED, _ns(one.last_used_at - one.asked_at for one in removed), elapsed_seconds),
        timing(REMOVED_ANSWERED, _ns(one.last_used_at - one.answered_at for one in removed), elapsed_seconds),
    ]


def _ns(seconds: Iterable[float]) -> list[int]:
    """Return whole nanoseconds; a negative duration counts as zero."""
    return [max(0, round(one * 1e9)) for one in seconds]
