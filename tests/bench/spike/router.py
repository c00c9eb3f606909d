"""Spike process 2: a request becomes an attempt; the reply inbox goes along unchanged."""

import itertools

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.bench.spike import process, wire


async def run(client: Client, arguments: process.Arguments) -> None:
    """Turn requests into attempts until SIGTERM."""
    attempts = itertools.count()

    async def on_request(message: Msg) -> None:
        head_line, _, body = message.data.partition(b"\n")
        head: dict[str, str] = orjson.loads(head_line)
        head["attempt"] = str(next(attempts))
        await client.publish(wire.ATTEMPT_SUBJECT, orjson.dumps(head) + b"\n" + body, reply=message.reply)

    await client.subscribe(wire.REQUEST_SUBJECT, queue="router", cb=on_request)
    await client.flush()
    wire.announce(arguments.directory, "router")
    await process.until_stopped()


if __name__ == "__main__":
    process.main("router", run)
