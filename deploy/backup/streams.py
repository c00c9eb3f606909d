"""Snapshots of streams by the server's own interface, with sequences, times and the positions of consumers.

Requests and answers are those of NATS' `$JS.API.STREAM.SNAPSHOT` and `.RESTORE`; `nats stream backup` uses the same.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from deploy.backup.errors import BackupFailed
from deploy.nats.provision import ask_until_placed
from keyferry.contracts.channels import Role
from keyferry.contracts.topology import BUCKETS, STREAMS, inbox_prefix
from keyferry.runtime.bus.servers import (
    bus_tls_of_environment,
    connect_once,
    describe_tls_error,
    server_urls,
    tls_options,
)
from keyferry.runtime.process.settings import read_nkey_seed
from keyferry.runtime.tls.certificates import UnusableCertificate

_TIMEOUT_SECONDS = 30.0
_CHUNK_BYTES = 128 << 10
_ASK_AGAIN_SECONDS = 0.05
_NO_STREAM = 10059
"""JetStream's error code for a stream that does not exist."""
OF_REQUESTS = ("ATTEMPTS", "DECISIONS", "CONTENTS")
"""Written by workers and routers, not by outboxes; by far the largest."""
LEFT_OUT = ("LIMITS", "LIVE", "TRACES")
"""Counters of the last minutes, copies of other streams, and traces of the last day."""


def of_events() -> tuple[str, ...]:
    """Return all streams of a backup but those of requests, buckets included.

    Buckets come last: the monitor writes the position of an audit event before it publishes the event, and publishes the event
    of that position again when it starts.
    """
    streams = [stream.name for stream in STREAMS if stream.name not in OF_REQUESTS + LEFT_OUT]
    return (*streams, *(bucket.stream for bucket in BUCKETS))


@asynccontextmanager
async def provisioner(nats_url: str, seed_file: Path) -> AsyncIterator[Client]:
    """Connect as the provisioner, the only user who may do this, with TLS as services do (KEYFERRY_NATS_CA_FILE).

    `nats_url` may name several servers of a cluster, separated by commas. Raises BackupFailed and SettingsError.
    """
    seed = (await asyncio.to_thread(read_nkey_seed, seed_file)).reveal()
    urls = server_urls(nats_url)
    try:
        client = await connect_once(
            urls,
            **tls_options(bus_tls_of_environment(urls)),
            nkeys_seed_str=seed,
            inbox_prefix=inbox_prefix(Role.PROVISIONER).encode(),
            name=f"{Role.PROVISIONER.value} backup",
            connect_timeout=5,
        )
    except UnusableCertificate as error:
        raise BackupFailed(f"TLS to NATS: {error}") from None
    except (NatsError, OSError, TimeoutError) as error:
        why = describe_tls_error(error) or "start it, or stop all of Keyferry, and try again"
        raise BackupFailed(f"NATS cannot be reached ({type(error).__name__}): {why}") from None
    try:
        yield client
    finally:
        await client.close()


async def take_snapshot(client: Client, stream: str, write: Callable[[bytes], None]) -> dict[str, Any] | None:
    """Pass the snapshot of a stream to `write` and return its description; None if there is no such stream.

    Raises BackupFailed, and what `write` raises.
    """
    inbox = client.new_inbox()
    chunks = await client.subscribe(inbox)
    try:
        body = {"deliver_subject": inbox, "no_consumers": False, "jsck": False, "chunk_size": _CHUNK_BYTES}
        answer = await _request(client, f"STREAM.SNAPSHOT.{stream}", body)
        if answer.get("error", {}).get("err_code") == _NO_STREAM:
            return None
        _check(answer, stream)
        while True:
            message = await chunks.next_msg(timeout=_TIMEOUT_SECONDS)
            status = (message.headers or {}).get("Status", "")
            if status and not status.startswith("2"):
                raise BackupFailed(f"NATS ended the snapshot of {stream} with status {status}: try again; see its log")
            if not message.data:
                return {"config": answer["config"], "state": answer["state"]}
            write(message.data)
            if message.reply:  # the server sends more only as chunks are acknowledged
                await client.publish(message.reply, b"")
    except (NatsError, TimeoutError) as error:
        raise BackupFailed(
            f"NATS did not deliver the snapshot of {stream} ({type(error).__name__}); see its log"
        ) from None
    finally:
        await chunks.unsubscribe()


async def find_existing(client: Client, names: Sequence[str]) -> list[str]:
    """Return which of these streams there are. Raises BackupFailed."""
    found = []
    for name in names:
        answer = await _request(client, f"STREAM.INFO.{name}", {})
        if answer.get("error", {}).get("err_code") != _NO_STREAM:
            _check(answer, name)
            found.append(name)
    return found


def with_replicas(description: dict[str, Any], replicas: int) -> dict[str, Any]:
    """Return the description of a stream for a restore into so many servers, whatever it was kept by.

    `persist_mode: async` is of a single server, and NATS refuses it together with replicas.
    """
    config = description["config"] | {"num_replicas": replicas}
    if replicas > 1:
        config.pop("persist_mode", None)
    return description | {"config": config}


async def restore_snapshot(client: Client, stream: str, description: dict[str, Any], content: Path) -> None:
    """Create a stream from its snapshot. Raises BackupFailed, also if the stream exists."""
    answer = await ask_until_placed(
        description["config"]["num_replicas"], lambda: _request(client, f"STREAM.RESTORE.{stream}", description)
    )
    _check(answer, stream)
    subject = answer["deliver_subject"]
    for chunk in _chunks(content):
        _check(await _send(client, stream, subject, chunk, _TIMEOUT_SECONDS), stream)
    _check(await _send(client, stream, subject, b"", _TIMEOUT_SECONDS * 10), stream)


async def _send(client: Client, stream: str, subject: str, chunk: bytes, timeout_seconds: float) -> dict[str, Any]:
    """Send a chunk, the last one empty, to the server that restores a stream, and return its answer. Raises BackupFailed.

    In a cluster that may be another server than ours, which knows a moment later that somebody takes chunks there. Until then
    it says that nobody does, and has sent nothing.
    """
    give_up = asyncio.get_running_loop().time() + _TIMEOUT_SECONDS
    while True:
        try:
            reply = await client.request(subject, chunk, timeout=timeout_seconds)
        except NoRespondersError:
            if asyncio.get_running_loop().time() < give_up:
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
                continue
            raise BackupFailed(f"NATS does not take the snapshot of {stream}; see its log") from None
        except (NatsError, TimeoutError) as error:
            raise BackupFailed(
                f"NATS did not take the snapshot of {stream} ({type(error).__name__}); see its log"
            ) from None
        answer: dict[str, Any] = orjson.loads(reply.data or b"{}")
        return answer


def _chunks(content: Path) -> Iterator[bytes]:
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _check(answer: dict[str, Any], stream: str) -> None:
    if error := answer.get("error"):
        raise BackupFailed(
            f"NATS refuses this for the stream {stream}: {error.get('description')} ({error.get('err_code')})"
        )


async def _request(client: Client, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        reply = await client.request(f"$JS.API.{verb}", orjson.dumps(body), timeout=_TIMEOUT_SECONDS)
    except (NatsError, TimeoutError) as error:
        raise BackupFailed(f"NATS does not answer {verb} ({type(error).__name__}); see its log") from None
    answer: dict[str, Any] = orjson.loads(reply.data)
    return answer
