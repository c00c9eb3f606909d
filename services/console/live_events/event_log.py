"""The stream LIVE as a log: how far it goes, and what it has after a number. No consumer is created."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from keyferry.contracts.live_events import LIVE
from keyferry.runtime.bus.direct_get import StreamUnreadable, read_page

_TIMEOUT_SECONDS = 5.0
_PAGE = 256
_PAGE_BYTES = 512 * 1024


class LogUnavailable(Exception):
    """The log cannot be read now."""


@dataclass(frozen=True, slots=True)
class LogState:
    """How far the log goes. `incarnation` is another one if the stream was created anew, with numbers from 1."""

    incarnation: str
    first: int
    """The number of the oldest message that is kept, or of the next one."""
    last: int


@dataclass(frozen=True, slots=True)
class LogMessage:
    """A message of the log."""

    seq: int
    subject: str
    data: bytes


async def read_state(client: Client) -> LogState:
    """Return how far the log goes. Raises LogUnavailable."""
    try:
        reply = await client.request(f"$JS.API.STREAM.INFO.{LIVE.name}", b"{}", timeout=_TIMEOUT_SECONDS)
        info: dict[str, Any] = orjson.loads(reply.data)
        created = datetime.fromisoformat(info["created"])
        state = info["state"]
        return LogState(f"{int(created.timestamp() * 1000):x}", int(state["first_seq"]), int(state["last_seq"]))
    except (NatsError, OSError, TimeoutError, KeyError, ValueError) as error:
        raise LogUnavailable(type(error).__name__) from None


async def read_after(
    client: Client, subject: str, seq: int, up_to: int, most: int, most_bytes: int
) -> list[LogMessage] | None:
    """Return the messages on `subject` after one number and up to another; None if they are more than `most`, or too long.

    Raises LogUnavailable.
    """
    found: list[LogMessage] = []
    while seq < up_to:
        page, complete = await _page(client, subject, seq + 1)
        found += [message for message in page if message.seq <= up_to]
        if len(found) > most or sum(len(message.data) for message in found) > most_bytes:
            return None
        if complete or not page:
            break
        seq = page[-1].seq
    return found


async def _page(client: Client, subject: str, from_seq: int) -> tuple[list[LogMessage], bool]:
    """Return some messages, and whether there are no more."""
    query = {"seq": from_seq, "batch": _PAGE, "max_bytes": _PAGE_BYTES, "next_by_subj": subject}
    try:
        page = await read_page(client, LIVE.name, query)
    except StreamUnreadable as error:
        raise LogUnavailable(str(error)) from None
    return [LogMessage(each.seq, each.subject, each.data) for each in page.messages], page.pending == 0
