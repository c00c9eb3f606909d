"""Previews share the process with requests, and a tenant's share it with those of others."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from services.router.power.preview_limit import MAX_AT_ONCE, MAX_OF_TENANT, PreviewLimit
from services.router.rules.past_requests import in_slices


def test_a_tenant_has_only_so_many_previews_made_at_once() -> None:
    limit = PreviewLimit()
    with ExitStack() as running:
        for _ in range(MAX_OF_TENANT):
            running.enter_context(limit.hold("acme"))
        with pytest.raises(Refused) as refused, limit.hold("acme"):
            pass
        assert refused.value.refusal.code is ErrorCode.UNAVAILABLE
        with limit.hold("globex"):
            pass
    with limit.hold("acme"):
        pass


def test_all_tenants_together_have_only_so_many() -> None:
    limit = PreviewLimit()
    with ExitStack() as running:
        for number in range(MAX_AT_ONCE):
            running.enter_context(limit.hold(f"tenant-{number}"))
        with pytest.raises(Refused), limit.hold("acme"):
            pass


async def test_plans_with_one_turn_leave_half_of_the_time_to_requests() -> None:
    """Without it each plan would work while the others pause."""
    working = 0.0

    def steps() -> Iterator[int]:
        nonlocal working
        for number in range(10):
            started = time.perf_counter()
            while time.perf_counter() - started < 0.0015:
                pass
            working += time.perf_counter() - started
            yield number

    turn, began = asyncio.Lock(), time.perf_counter()
    found = await asyncio.gather(*(in_slices(steps(), turn) for _ in range(6)))
    paused = time.perf_counter() - began - working
    assert found == [list(range(10))] * 6
    assert paused >= 6 * 10 * 0.001
