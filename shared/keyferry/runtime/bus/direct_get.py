"""Reads messages of a stream by batched direct gets, for which no consumer is created (the server's ADR-31)."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

_TIMEOUT_SECONDS = 5.0
_END, _NOTHING = "204", "404"


class StreamUnreadable(Exception):
    """The stream cannot be read now."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as a stream has it."""

    seq: int
    stored_at: datetime
    subject: str
    data: bytes


@dataclass(slots=True)
class StoredPage:
    """The messages that one query found."""

    messages: list[StoredMessage] = field(default_factory=list)
    pending: int = 0
    """How many more messages there are."""


async def read_page(client: Client, stream: str, query: dict[str, Any]) -> StoredPage:
    """Return what a batched direct get finds (`next_by_subj`, `seq` or `start_time`, `batch`, `max_bytes`).

    Raises StreamUnreadable.
    """
    page = StoredPage()
    inbox = client.new_inbox()
    subscription = None
    try:
        subscription = await client.subscribe(inbox)
        await client.publish(f"$JS.API.DIRECT.GET.{stream}", orjson.dumps(query), reply=inbox)
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while True:
                message = await subscription.next_msg(timeout=_TIMEOUT_SECONDS)
                headers = message.headers or {}
                status = headers.get("Status")
                if status == _END:
                    page.pending = int(headers.get("Nats-Num-Pending", "0"))
                    return page
                if status == _NOTHING:
                    return page
                if status is not None:
                    raise StreamUnreadable(f"the server answers {status}")
                stored_at = datetime.fromisoformat(headers["Nats-Time-Stamp"])
                seq, subject = int(headers["Nats-Sequence"]), headers["Nats-Subject"]
                page.messages.append(StoredMessage(seq, stored_at, subject, message.data))
    except (NatsError, OSError, TimeoutError, KeyError, ValueError) as error:
        raise StreamUnreadable(type(error).__name__) from None
    finally:
        if subscription is not None:
            with suppress(NatsError):  # a closed or draining connection has dropped it already
                await subscription.unsubscribe()
