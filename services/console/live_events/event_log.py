"""The stream LIVE as a log: how far it goes, and what it has after a number. No consumer is created."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from keyferry.contracts.live_events import LIVE

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
    inbox = client.new_inbox()
    query = {"seq": from_seq, "batch": _PAGE, "max_bytes": _PAGE_BYTES, "next_by_subj": subject}
    rows: list[LogMessage] = []
    subscription = None
    try:
        subscription = await client.subscribe(inbox)
        await client.publish(f"$JS.API.DIRECT.GET.{LIVE.name}", orjson.dumps(query), reply=inbox)
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while True:
                message = await subscription.next_msg(timeout=_TIMEOUT_SECONDS)
                headers = message.headers or {}
                status = headers.get("Status")
                if status == "204":
                    return rows, headers.get("Nats-Num-Pending", "0") == "0"
                if status == "404":
                    return rows, True
                if status is not None:
                    raise LogUnavailable(f"the server answers {status}")
                rows.append(LogMessage(int(headers["Nats-Sequence"]), headers["Nats-Subject"], message.data))
    except (NatsError, OSError, TimeoutError) as error:
        raise LogUnavailable(type(error).__name__) from None
    finally:
        if subscription is not None:
            with suppress(NatsError):  # a closed or draining connection has dropped it already
                await subscription.unsubscribe()
