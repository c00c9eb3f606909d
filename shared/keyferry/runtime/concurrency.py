"""What asyncio lacks: reliable cancellation, and awaiting many acknowledgements in order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

_CANCEL_AGAIN_SECONDS = 1.0

Send = Callable[[], Awaitable[object]]
"""Publishes one message, writing it before anything else is awaited, and returns when it is stored; raises if it is not."""


class _NotSent(Exception):
    """An earlier message could not be written."""


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Cancel `task` and wait until it has ended; its exception is not passed on.

    `asyncio.wait_for` of Python 3.11, which nats-py uses everywhere, loses a cancellation that coincides with a result. A task
    that was cancelled once may therefore run on, so it is cancelled again until it has ended.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_SECONDS)
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not report it


async def send_in_order(sends: Sequence[Send]) -> tuple[int, Exception | None]:
    """Send all messages; return how many of the first ones are stored, and why the next one is not (None if all are).

    What follows that one may be stored or not, so send again from there; a message id or a key has to make the repetition
    harmless. Nothing is sent after a message that could not be written. Tasks start in the order of their creation without
    anything running between, so all are written to one connection, of which a lost server has received a prefix: none
    overtakes another. Only where the server rejects one and accepts a later one does the later one come first.
    """
    broken = False

    async def send_next(send: Send) -> None:
        nonlocal broken
        if broken:
            raise _NotSent
        try:
            await send()
        except Exception:  # the edge of one message: the caller learns which one failed, and why
            broken = True
            raise

    outcomes = await asyncio.gather(*(send_next(send) for send in sends), return_exceptions=True)
    failures = ((place, outcome) for place, outcome in enumerate(outcomes) if isinstance(outcome, Exception))
    return next(failures, (len(sends), None))
