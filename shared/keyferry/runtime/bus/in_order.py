"""Many messages on their way at once, in order: a stream's acknowledgements are awaited together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

Send = Callable[[], Awaitable[object]]
"""Publishes one message, writing it before anything else is awaited, and returns when it is stored; raises where it is not."""


class _NotSent(Exception):
    """One before this could not be written."""


async def acknowledged(sends: Sequence[Send]) -> tuple[int, Exception | None]:
    """Send all; how many of the first ones are stored, and why the one after these is not, None where all are.

    What follows it may be stored or not, so send again from there: a message id or a key has to make the repetition harmless.
    Nothing is sent after a message that could not be written. Tasks begin in the order in which they are made, and nothing
    runs between, so all are written to one connection, of which a server that goes away has taken the beginning: none
    overtakes another. Only where the server refuses one by itself and takes a later one does the later one come first.
    """
    broken = False

    async def in_turn(send: Send) -> None:
        nonlocal broken
        if broken:
            raise _NotSent
        try:
            await send()
        except Exception:  # the edge of one message: the caller is told which one it was, and why
            broken = True
            raise

    outcomes = await asyncio.gather(*(in_turn(send) for send in sends), return_exceptions=True)
    failures = ((place, outcome) for place, outcome in enumerate(outcomes) if isinstance(outcome, Exception))
    return next(failures, (len(sends), None))
