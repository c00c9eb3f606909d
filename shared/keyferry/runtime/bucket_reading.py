"""Reading some keys of a bucket by its owner, in one request."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from keyferry.contracts.topology import Bucket
from keyferry.runtime.views import SnapshotFailed

MAX_KEYS = 1000
"""The server answers a request for 1024 at most."""
_TIMEOUT_SECONDS = 5.0
_DELETED = ("DEL", "PURGE")
_END, _NOTHING = "204", "404"


async def read_keys(client: Client, bucket: Bucket[Any], keys: Sequence[str]) -> dict[str, bytes]:
    """Return the values of those of `keys` that the bucket has. Raises SnapshotFailed."""
    found: dict[str, bytes] = {}
    for at in range(0, len(keys), MAX_KEYS):
        found |= await _read(client, bucket, keys[at : at + MAX_KEYS])
    return found


async def _read(client: Client, bucket: Bucket[Any], keys: Sequence[str]) -> dict[str, bytes]:
    query = {"multi_last": [bucket.key_subject(key) for key in keys], "batch": len(keys)}
    found: dict[str, bytes] = {}
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    try:
        await client.publish(f"$JS.API.DIRECT.GET.{bucket.stream}", orjson.dumps(query), reply=inbox)
        while True:
            message = await subscription.next_msg(timeout=_TIMEOUT_SECONDS)
            headers = message.headers or {}
            status = headers.get("Status")
            if status in (_END, _NOTHING):
                return found
            if status is not None:
                raise SnapshotFailed(f"{bucket.name}: the server answers {status} {headers.get('Description', '')}")
            if headers.get("KV-Operation") not in _DELETED:
                found[headers["Nats-Subject"].removeprefix(bucket.key_subject(""))] = message.data
    except (NatsError, TimeoutError) as error:
        raise SnapshotFailed(f"{bucket.name}: {type(error).__name__}") from None
    finally:
        with suppress(NatsError):  # a closed or draining connection has dropped it already
            await subscription.unsubscribe()
