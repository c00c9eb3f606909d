"""Waiting for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT_SECONDS = 30.0
"""Far above what anything here takes; reaching it means that it never comes."""
_POLL_SECONDS = 0.01


def until(what: str, condition: Callable[[], T | None], timeout_seconds: float = TIMEOUT_SECONDS) -> T:
    """The first truthy value of `condition()`. Raises AssertionError naming `what` when it never comes."""
    give_up = time.monotonic() + timeout_seconds
    while not (value := condition()):
        if time.monotonic() > give_up:
            raise AssertionError(f"never happened: {what}")
        time.sleep(_POLL_SECONDS)
    return value
