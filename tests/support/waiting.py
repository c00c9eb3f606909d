"""Waiting for a condition instead of a fixed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT_SECONDS = 30.0
"""Far above what anything here takes; reaching it means that it never comes."""
_POLL_SECONDS = 0.01


def until(what: str, condition: Callable[[], T | None], timeout_seconds: float = TIMEOUT_SECONDS) -> T:
    """Return the first truthy value of `condition()`. Raises AssertionError naming `what` on timeout."""
    give_up = time.monotonic() + timeout_seconds
    while not (value := condition()):
        if time.monotonic() > give_up:
            raise AssertionError(f"never happened: {what}")
        time.sleep(_POLL_SECONDS)
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
    try:
        async with asyncio.timeout(timeout_seconds):
            while not (value := await condition()):  # noqa: ASYNC110  # a condition of any kind has no event to wait for
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None
    return value
