"""Waiting for a condition instead of a fixed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT_SECONDS = 30.0
"""Far above what anything here takes; reaching it means that it never comes."""
_POLL_SECONDS = 0.01
_MAX_POLL_SECONDS = 0.1
_WAITED_PART = 0.05
"""Of a wait so far: what comes soon is seen soon, and a long wait leaves the cores to what it waits for."""


def until(what: str, condition: Callable[[], T | None], timeout_seconds: float = TIMEOUT_SECONDS) -> T:
    """Return the first truthy value of `condition()`. Raises AssertionError naming `what` on timeout."""
    started = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - started
        if waited > timeout_seconds:
            raise AssertionError(f"never happened: {what}")
        time.sleep(_pause_seconds(waited))
    return value


async def eventually(what: str, condition: Callable[[], T | None], timeout_seconds: float = 2 * TIMEOUT_SECONDS) -> T:
    """Return the first truthy value of `condition()`. Raises AssertionError naming `what` if it never comes."""

    async def evaluate() -> T | None:
        return condition()

    return await eventually_async(what, evaluate, timeout_seconds)


async def eventually_async(
    what: str, condition: Callable[[], Awaitable[T | None]], timeout_seconds: float = 2 * TIMEOUT_SECONDS
) -> T:
    """Return the first truthy value of `await condition()`. Raises AssertionError naming `what` if it never comes."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout_seconds):
            while not (value := await condition()):  # noqa: ASYNC110  # a condition of any kind has no event to wait for
                await asyncio.sleep(_pause_seconds(time.monotonic() - started))
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None
    return value


def _pause_seconds(waited_seconds: float) -> float:
    return min(max(_POLL_SECONDS, waited_seconds * _WAITED_PART), _MAX_POLL_SECONDS)
