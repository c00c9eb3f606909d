"""Requests that only read are answered once more if they lose their connection to the database, as in a failover.

`Bus.respond` handles such a request in `repeat_lost_read`; every engine of `engine_for` says what its statements do in it. A
request that has sent a statement that may change something is never repeated, whatever its subject says.
"""

import logging
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import TypeVar

_log = logging.getLogger(__name__)

Q = TypeVar("Q")
R = TypeVar("R")
_CHANGES = re.compile(
    r"\b(?:INSERT|UPDATE|DELETE|MERGE|COPY|CALL|LOCK|CREATE|ALTER|DROP|TRUNCATE|NOTIFY|nextval)\b", re.I
)
"""Words of statements that change something; one in a comment or a name is taken for one, which only leaves a read unrepeated."""


@dataclass(slots=True)
class _DatabaseUse:
    """What a request has done to the database so far."""

    lost: bool = False
    wrote: bool = False


_use: ContextVar[_DatabaseUse | None] = ContextVar("use of the database by a request that only reads", default=None)


def note_statement(statement: str) -> None:
    """Note that a statement is sent to the database."""
    use = _use.get()
    if use is not None and not use.wrote:
        use.wrote = _CHANGES.search(statement) is not None


def note_lost_connection() -> None:
    """Note that a connection was lost that a transaction used."""
    use = _use.get()
    if use is not None:
        use.lost = True


def repeat_lost_read(handler: Callable[[Q], Awaitable[R]], name: str) -> Callable[[Q], Awaitable[R]]:
    """Return `handler`, which is called again, once, if it failed by a lost connection and has changed nothing.

    The second call gets a new connection, for which it waits as any other does. `name` is the subject's, for the log.
    """

    @wraps(handler)
    async def handle(question: Q) -> R:
        use = _DatabaseUse()
        token = _use.set(use)
        try:
            return await handler(question)
        except Exception:  # handlers say by errors of many types that the database is away
            if use.wrote or not use.lost:
                raise
        finally:
            _use.reset(token)
        _log.info("a request lost its connection to PostgreSQL and is answered by another one", extra={"subject": name})
        return await handler(question)

    return handle
