"""Ending a task for certain."""

import asyncio

_ASK_AGAIN_SECONDS = 1.0


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel `task` and return when it is over; what it raised is not passed on.

    `asyncio.wait_for` of Python 3.11, which nats-py uses everywhere, loses a cancellation that comes together with a result.
    A task that was cancelled once may therefore run on, and who waits for it would wait for ever: so cancel until it is over.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_ASK_AGAIN_SECONDS)
    if not task.cancelled():
        task.exception()  # looked at, so that it is not reported as never retrieved
