"""The servers of a bus: one, or the nodes of a cluster, of which a connection uses one at a time."""

import random
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import AuthorizationError
from nats.errors import Error as NatsError

_PING_SECONDS = 10
_PING_SECONDS_IN_CLUSTER = 2
"""A server that stopped answering is noticed after the third ping. With others to turn to that has to be soon; without any, a
machine that was only busy would have cost all requests under way."""


def server_urls(text: str) -> list[str]:
    """Return the URLs of a list with commas, in its order; at least one, which is invalid if the list has none."""
    return [url for part in text.split(",") if (url := part.strip())] or [text]


def ping_seconds(urls: list[str]) -> int:
    """Return how often a connection checks that its server still answers, in seconds."""
    return _PING_SECONDS_IN_CLUSTER if len(urls) > 1 else _PING_SECONDS


async def connect_once(urls: list[str], **options: Any) -> Client:
    """Connect to the first of the servers, in random order, that can be used; a lost connection is not restored.

    `options` are those of nats-py, which alone would give up at the first server that accepts a connection and then says nothing.
    Raises its errors: for refused credentials at once, else that of the last server.
    """
    *others, last = random.sample(urls, len(urls))
    for url in others:
        try:
            return await _connect(url, options)
        except AuthorizationError:
            raise
        except (OSError, NatsError, TimeoutError) as error:
            if "authorization violation" in str(error).lower():
                raise
    return await _connect(last, options)


async def _connect(url: str, options: dict[str, Any]) -> Client:
    # nats-py also uses the limit of attempts for the first connection.
    return await nats.connect(url, allow_reconnect=False, max_reconnect_attempts=1, **options)
