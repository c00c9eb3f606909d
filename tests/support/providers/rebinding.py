"""A host name that resolves differently each time it is asked for, with an allowed and an internal listener behind it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Network

from deploy.embedded.ports import LOOPBACK
from keyferry.runtime.upstream.guard import Lookup
from tests.support.providers.raw_http_server import RawHttpServer, answers, reply, servers_on_one_port

GOOD_ADDRESS = "127.0.0.2"
GOOD_ALLOWED = (IPv4Network("127.0.0.2/32"),)
"""The operator's networks: with them the one listener may be called, and the other may not."""


def answering(*answers_in_turn: Sequence[str]) -> tuple[Lookup, Callable[[], int]]:
    """Return a name server that gives a different answer to each query, then always the last; and a count of the queries."""
    queries = 0

    async def lookup(host: str, port: int) -> list[str]:
        nonlocal queries
        queries += 1
        return list(answers_in_turn[min(queries, len(answers_in_turn)) - 1])

    return lookup, lambda: queries


@asynccontextmanager
async def good_and_bad(*, close: bool) -> AsyncIterator[tuple[RawHttpServer, RawHttpServer]]:
    """Run a listener that the operator allows, and an internal one on the same port."""
    allowed = answers(reply(b"good", *(["connection: close"] * close)), close=close)
    secret = answers(reply(b"secret"))
    async with servers_on_one_port((allowed, GOOD_ADDRESS), (secret, LOOPBACK)) as (good, bad):
        yield good, bad
