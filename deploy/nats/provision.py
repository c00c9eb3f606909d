"""Create the streams, consumers and buckets of the topology; update those that differ, delete none.

Only the provisioner has permission for this; services bind to what exists. Running it again is harmless.

    python -m deploy.nats.provision --url nats://127.0.0.1:4222 --seed-file FILE
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import nats
import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from keyferry.contracts.live_events import LIVE
from keyferry.contracts.live_sources import LIVE_SOURCES
from keyferry.contracts.topology import (
    BUCKETS,
    CONSUMERS,
    STREAMS,
    SUBJECTS,
    Bucket,
    Consumer,
    Role,
    Stream,
    inbox_prefix,
)
from keyferry.runtime.process.settings import SettingsError, read_nkey_seed, without_credentials

_TIMEOUT_SECONDS = 10.0


class ProvisionError(Exception):
    """The server rejected a stream, consumer or bucket; the message has its reason."""


async def provision(nats_url: str, seed_file: Path) -> None:
    """Bring the server in line with the topology. Raises ProvisionError, SettingsError for a bad seed, and NATS' errors."""
    seed = (await asyncio.to_thread(read_nkey_seed, seed_file)).reveal()
    client = await nats.connect(
        nats_url,
        nkeys_seed_str=seed,
        inbox_prefix=inbox_prefix(Role.PROVISIONER).encode(),
        name=Role.PROVISIONER.value,
        allow_reconnect=False,
        max_reconnect_attempts=1,
        connect_timeout=5,
    )
    try:
        for stream in STREAMS:
            await _apply_stream(client, stream_config(stream))
        for bucket in BUCKETS:
            await _apply_stream(client, bucket_config(bucket))
        for consumer in CONSUMERS:
            await _apply_consumer(client, consumer)
    finally:
        await client.close()


def stream_config(stream: Stream) -> dict[str, Any]:
    """Return the JetStream configuration of a stream (fields: the server's STREAM.CREATE API)."""
    config: dict[str, Any] = {
        "name": stream.name,
        "subjects": [subject.pattern() for subject in SUBJECTS if subject.stream == stream.name],
        "retention": "limits",
        "storage": "file",
        "discard": "old" if stream.drops_oldest else "new",
        "max_age": _nanoseconds(stream.max_age),
        "max_bytes": stream.max_bytes,
        "duplicate_window": _nanoseconds(stream.duplicate_window),
        "num_replicas": 1,
        "allow_direct": True,
        "compression": "s2",
    }
    if stream.counters:
        config |= {"allow_msg_counter": True, "max_msgs_per_subject": 1}
    if stream.republished_to is not None:
        config |= {"republish": {"src": ">", "dest": f"{stream.republished_to}>"}}
    if stream is LIVE:
        config["sources"] = [_source(name, subjects) for name, subjects in LIVE_SOURCES.items()]
    return config if stream.synced else config | {"persist_mode": "async"}


def _source(stream: str, subjects: Sequence[str]) -> dict[str, Any]:
    """Return the configuration that copies some subjects of a stream, unchanged."""
    transforms = [{"src": subject, "dest": _same(subject)} for subject in subjects]
    return {"name": stream, "subject_transforms": transforms}


def _same(subject: str) -> str:
    """Return the destination that leaves a subject as it is: the server wants each wildcard by its number."""
    numbers = count(1)
    return ".".join(f"{{{{wildcard({next(numbers)})}}}}" if part == "*" else part for part in subject.split("."))


def bucket_config(bucket: Bucket[Any]) -> dict[str, Any]:
    """Return the JetStream configuration of a KV bucket whose changes are republished for views."""
    return {
        "name": bucket.stream,
        "subjects": [bucket.key_subject(">")],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_bytes": bucket.max_bytes,
        "num_replicas": 1,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "republish": {"src": bucket.key_subject(">"), "dest": f"{bucket.view_prefix}>"},
    }


def consumer_config(consumer: Consumer) -> dict[str, Any]:
    """Return the configuration of a durable pull consumer; deliveries are unlimited, so that an outage loses no record.

    Of a stream with several subjects a consumer gets those that its role subscribes to, and what is left of those that have
    moved to another stream.
    """
    subjects = [subject for subject in SUBJECTS if subject.stream == consumer.stream]
    wanted = [subject for subject in subjects if consumer.subscriber in subject.subscribers]
    filter_subjects = [subject.pattern() for subject in (*wanted, *consumer.moved)]
    filters = {"filter_subjects": filter_subjects} if len(wanted) < len(subjects) else {}
    return filters | {
        "durable_name": consumer.durable,
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "ack_wait": _nanoseconds(consumer.ack_wait),
        "max_deliver": -1,
        "max_ack_pending": consumer.max_ack_pending,
    }


async def _apply_stream(client: Client, config: dict[str, Any]) -> None:
    name = config["name"]
    found = await _request(client, f"STREAM.INFO.{name}", {})
    if "error" in found:
        await _request_or_raise(client, f"STREAM.CREATE.{name}", config)
    elif any(found["config"].get(key) != value for key, value in config.items()):
        await _request_or_raise(client, f"STREAM.UPDATE.{name}", found["config"] | config)


async def _apply_consumer(client: Client, consumer: Consumer) -> None:
    await _request_or_raise(
        client,
        f"CONSUMER.DURABLE.CREATE.{consumer.stream}.{consumer.durable}",
        {"stream_name": consumer.stream, "config": consumer_config(consumer)},
    )


async def _request_or_raise(client: Client, verb: str, body: dict[str, Any]) -> None:
    answer = await _request(client, verb, body)
    if error := answer.get("error"):
        raise ProvisionError(f"NATS rejects {verb}: {error.get('description')} ({error.get('err_code')})")


async def _request(client: Client, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = await client.request(f"$JS.API.{verb}", orjson.dumps(body), timeout=_TIMEOUT_SECONDS)
    answer: dict[str, Any] = orjson.loads(reply.data)
    return answer


def _nanoseconds(span: timedelta) -> int:
    return int(span / timedelta(microseconds=1)) * 1000


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Create the streams, consumers and buckets of the topology.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--seed-file", required=True, type=Path)
    args = parser.parse_args()
    try:
        asyncio.run(provision(args.url, args.seed_file))
    except (ProvisionError, SettingsError) as error:
        sys.exit(str(error))
    except (NatsError, OSError) as error:
        sys.exit(
            f"NATS at {without_credentials(args.url)} does not do what it is asked for ({type(error).__name__}); see its log"
        )


if __name__ == "__main__":
    main()
