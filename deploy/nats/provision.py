"""Create the streams, consumers and buckets of the topology; update those that differ, delete none.

Only the provisioner has permission for this; services bind to what exists. Running it again is harmless.

    python -m deploy.nats.provision --url nats://127.0.0.1:4222 --seed-file FILE
    python -m deploy.nats.provision --url nats://a:4222,nats://b:4222,nats://c:4222 --seed-file FILE --replicas 3

With several replicas every stream and bucket is kept by so many servers of a cluster: docs/guides/failover.md.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from keyferry.contracts.live_events import LIVE
from keyferry.contracts.live_sources import LIVE_SOURCES
from keyferry.contracts.text import parse_digits
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
from keyferry.runtime.bus.servers import bus_tls_of_environment, connect_once, server_urls, tls_options
from keyferry.runtime.process.settings import SettingsError, read_nkey_seed, without_credentials
from keyferry.runtime.tls.certificates import UnusableCertificate

_TIMEOUT_SECONDS = 10.0
REPLICAS_VARIABLE = "KEYFERRY_NATS_REPLICAS"
_REPLICAS = (1, 3, 5)
"""An even number survives no more lost servers than the odd one below it; the server allows 5 at most."""
_LEADER_SECONDS = 60.0
"""Time for a cluster that has just started to elect the leader that creates streams; it takes about five seconds."""
_ASK_AGAIN_SECONDS = 0.25
_NO_SUITABLE_PEERS = 10005


class ProvisionError(Exception):
    """The server rejected a stream, consumer or bucket; the message has its reason."""


async def provision(nats_url: str, seed_file: Path, *, replicas: int = 1) -> None:
    """Bring the servers in line with the topology. `nats_url` may name several servers of a cluster, separated by commas.

    TLS is used as by services (KEYFERRY_NATS_CA_FILE). Raises ProvisionError, SettingsError for a bad seed, UnusableCertificate,
    and NATS' errors.
    """
    client = await connect_as_provisioner(nats_url, seed_file)
    try:
        await wait_for_leader(client)
        for stream in STREAMS:
            await _apply_stream(client, stream_config(stream, replicas))
        for bucket in BUCKETS:
            await _apply_stream(client, bucket_config(bucket, replicas))
        for consumer in CONSUMERS:
            await _apply_consumer(client, consumer)
    finally:
        await client.close()


async def connect_as_provisioner(nats_url: str, seed_file: Path, **options: Any) -> Client:
    """Connect to one of the servers; `options` are those of nats-py, errors those of `provision`."""
    seed = (await asyncio.to_thread(read_nkey_seed, seed_file)).reveal()
    urls = server_urls(nats_url)
    return await connect_once(
        urls,
        **tls_options(bus_tls_of_environment(urls)),
        nkeys_seed_str=seed,
        inbox_prefix=inbox_prefix(Role.PROVISIONER).encode(),
        name=Role.PROVISIONER.value,
        connect_timeout=5,
        **options,
    )


def stream_config(stream: Stream, replicas: int = 1) -> dict[str, Any]:
    """Return the JetStream configuration of a stream (fields: the server's STREAM.CREATE API).

    The server refuses `persist_mode: async` with replicas (error 10052, nats-server 2.15.1), so there every stream is synced.
    Files are not compressed: see docs/decisions/2026-12-01-uncompressed-streams.md.
    """
    config: dict[str, Any] = {
        "name": stream.name,
        "subjects": [subject.pattern() for subject in SUBJECTS if subject.stream == stream.name],
        "retention": "limits",
        "storage": "file",
        "discard": "old" if stream.drops_oldest else "new",
        "max_age": _nanoseconds(stream.max_age),
        "max_bytes": stream.max_bytes,
        "duplicate_window": _nanoseconds(stream.duplicate_window),
        "num_replicas": replicas,
        "allow_direct": True,
        "compression": "none",
    }
    if stream.counters:
        config |= {"allow_msg_counter": True, "max_msgs_per_subject": 1}
    if stream.republished_to is not None:
        config |= {"republish": {"src": ">", "dest": f"{stream.republished_to}>"}}
    if stream is LIVE:
        config["sources"] = [_source(name, subjects) for name, subjects in LIVE_SOURCES.items()]
    return config if stream.synced or replicas > 1 else config | {"persist_mode": "async"}


def _source(stream: str, subjects: Sequence[str]) -> dict[str, Any]:
    """Return the configuration that copies some subjects of a stream, unchanged."""
    transforms = [{"src": subject, "dest": _same(subject)} for subject in subjects]
    return {"name": stream, "subject_transforms": transforms}


def _same(subject: str) -> str:
    """Return the destination that leaves a subject as it is: the server wants each wildcard by its number."""
    numbers = count(1)
    return ".".join(f"{{{{wildcard({next(numbers)})}}}}" if part == "*" else part for part in subject.split("."))


def bucket_config(bucket: Bucket[Any], replicas: int = 1) -> dict[str, Any]:
    """Return the JetStream configuration of a KV bucket whose changes are republished for views."""
    return {
        "name": bucket.stream,
        "subjects": [bucket.key_subject(">")],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_bytes": bucket.max_bytes,
        "num_replicas": replicas,
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
        await _create_stream(client, config)
        return
    # The server never changes how a stream persists (error 10052), so an existing one keeps its own way.
    wanted = {key: value for key, value in config.items() if key != "persist_mode"}
    if wanted["num_replicas"] > 1 and found["config"].get("persist_mode") == "async":
        raise ProvisionError(
            f"the stream {name} was made for a single server, and NATS cannot give it replicas: stop the services that write"
            ' it, let its readers come to its end (docs/guides/failover.md, "From one server to three"), delete it, and run'
            " this again"
        )
    if any(found["config"].get(key) != value for key, value in wanted.items()):
        await _request_or_raise(client, f"STREAM.UPDATE.{name}", found["config"] | wanted)


async def _create_stream(client: Client, config: dict[str, Any]) -> None:
    verb = f"STREAM.CREATE.{config['name']}"
    _raise_error(verb, await ask_until_placed(config["num_replicas"], lambda: _request(client, verb, config)))


async def ask_until_placed(replicas: int, ask: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Return JetStream's answer to a new stream, once enough servers have joined, or its refusal if they do not in time.

    A leader that was just elected does not know all servers of its cluster, and refuses replicas until it does.
    """
    give_up = asyncio.get_running_loop().time() + _LEADER_SECONDS
    while True:
        answer = await ask()
        missing = answer.get("error", {}).get("err_code") == _NO_SUITABLE_PEERS and replicas > 1
        if not missing or asyncio.get_running_loop().time() > give_up:
            return answer
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


async def wait_for_leader(client: Client) -> None:
    """Wait until a cluster that has just started can create streams. Raises ProvisionError if it elects no leader."""
    give_up = asyncio.get_running_loop().time() + _LEADER_SECONDS
    while True:
        try:
            if "error" not in await _request(client, "INFO", {}, timeout_seconds=1.0):
                return
        except (NatsTimeoutError, NoRespondersError):
            pass  # it is elected by a majority of the servers
        if asyncio.get_running_loop().time() > give_up:
            raise ProvisionError(
                f"NATS has had no JetStream leader for {_LEADER_SECONDS:g} s: more than half of the cluster's servers have to"
                " run and reach each other; see their logs"
            )
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


async def _apply_consumer(client: Client, consumer: Consumer) -> None:
    await _request_or_raise(
        client,
        f"CONSUMER.DURABLE.CREATE.{consumer.stream}.{consumer.durable}",
        {"stream_name": consumer.stream, "config": consumer_config(consumer)},
    )


async def _request_or_raise(client: Client, verb: str, body: dict[str, Any]) -> None:
    _raise_error(verb, await _request(client, verb, body))


def _raise_error(verb: str, answer: dict[str, Any]) -> None:
    if error := answer.get("error"):
        raise ProvisionError(f"NATS rejects {verb}: {error.get('description')} ({error.get('err_code')})")


async def _request(
    client: Client, verb: str, body: dict[str, Any], timeout_seconds: float = _TIMEOUT_SECONDS
) -> dict[str, Any]:
    reply = await client.request(f"$JS.API.{verb}", orjson.dumps(body), timeout=timeout_seconds)
    answer: dict[str, Any] = orjson.loads(reply.data)
    return answer


def _nanoseconds(span: timedelta) -> int:
    return int(span / timedelta(microseconds=1)) * 1000


def replicas_of(environment: Mapping[str, str]) -> int:
    """Return how many servers are to keep each stream, of KEYFERRY_NATS_REPLICAS. Raises ProvisionError."""
    return parse_replicas(environment.get(REPLICAS_VARIABLE) or "1", REPLICAS_VARIABLE)


def parse_replicas(text: str, name: str) -> int:
    """Return a number of replicas. Raises ProvisionError, which names the setting, for any but 1, 3 and 5."""
    number = parse_digits(text)
    if number not in _REPLICAS:
        raise ProvisionError(f"{name}={text[:20]!r} is no number of replicas: use 1 for a single server, else 3 or 5")
    return number


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Create the streams, consumers and buckets of the topology.")
    parser.add_argument("--url", required=True, help="one server, or several of a cluster, separated by commas")
    parser.add_argument("--seed-file", required=True, type=Path)
    parser.add_argument(
        "--replicas", help=f"servers that keep each stream: 1, 3 or 5 (default: {REPLICAS_VARIABLE}, else 1)"
    )
    args = parser.parse_args()
    try:
        replicas = parse_replicas(args.replicas, "--replicas") if args.replicas else replicas_of(os.environ)
        asyncio.run(provision(args.url, args.seed_file, replicas=replicas))
    except (ProvisionError, SettingsError, UnusableCertificate) as error:
        sys.exit(str(error))
    except (NatsError, OSError) as error:
        sys.exit(
            f"NATS at {without_credentials(args.url)} does not do what it is asked for ({type(error).__name__}); see its log"
        )


if __name__ == "__main__":
    main()
