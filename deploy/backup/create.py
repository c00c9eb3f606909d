"""Making a backup while the system runs.

The order makes it consistent, without stopping anything. What a worker has finished is copied from where it comes first: the
spools, then the streams of requests, then the database. A record on its way is then in the backup at least once, and every
reader knows records that come twice by their ids. What a service with tables announces goes the other way, from its outbox to
a stream; so the outboxes are held while the streams of such events and the snapshot of the database are taken. The dump of that
snapshot follows without holding anything.
"""

import asyncio
import importlib.metadata
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyrage
from nats.aio.client import Client
from sqlalchemy.engine import make_url

from deploy.backup import audit_entry, database, streams
from deploy.backup.archive import ArchiveWriter, PartWriter, writing
from deploy.backup.errors import BackupFailed
from deploy.backup.manifest import (
    DATABASE,
    FORMAT,
    MANIFEST,
    SECRETS,
    SPOOL,
    STREAM_DESCRIPTION,
    STREAMS,
    BackupManifest,
)
from deploy.backup.servers import Log, Servers
from deploy.postgres.migrate import read_applied

KEKS = Path("vault", "keks")
"""In the directory of secrets: what decrypts provider keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSource:
    """What is backed up."""

    servers: Servers
    secrets_dir: Path
    spool_dir: Path | None
    with_keks: bool = True


async def create(
    source: BackupSource, target: str, recipients: list[pyrage.x25519.Recipient], log: Log
) -> BackupManifest:
    """Write a backup to the file `target`. Raises BackupFailed, SettingsError and OSError; there is no file then."""
    manifest = await asyncio.to_thread(_describe, source)
    with writing(target, recipients) as archive:
        archive.add(MANIFEST, manifest.model_dump_json().encode())
        secrets = _add_secrets(archive, source)
        log(f"{secrets} secret files")
        if source.spool_dir is not None:
            log(f"{_add_files(archive, SPOOL, source.spool_dir)} files of attempts that are not confirmed yet")
        async with streams.provisioner(source.servers.nats_url, source.servers.provisioner_seed) as client:
            for stream in streams.OF_REQUESTS:
                await _add_stream(archive, client, stream)
            await _add_consistently(archive, client, source.servers, log)
    await asyncio.to_thread(
        audit_entry.record,
        source.servers.admin_url,
        "installation.backup",
        f"backup of {manifest.created_at.isoformat()}",
        {
            "file": "standard output" if target == "-" else Path(target).name,
            "keks": "yes" if source.with_keks else "no",
        },
    )
    log(f"{archive.bytes_written / (1 << 20):.1f} MiB before encryption")
    return manifest


async def _add_consistently(archive: ArchiveWriter, client: Client, servers: Servers, log: Log) -> None:
    """Add the streams of events, the buckets and the database, as they are at one moment for every outbox."""
    clock = asyncio.get_running_loop().time
    with ExitStack() as snapshot_held:
        with ExitStack() as outboxes_held:
            await asyncio.to_thread(outboxes_held.enter_context, database.holding_outboxes(servers.admin_url))
            since_seconds = clock()
            for stream in streams.of_events():
                await _add_stream(archive, client, stream)
            snapshot = await asyncio.to_thread(
                snapshot_held.enter_context, database.exported_snapshot(servers.admin_url)
            )
        log(f"streams and a snapshot of the database; changes waited for {clock() - since_seconds:.2f} s")
        dump = PartWriter(archive, DATABASE)
        await asyncio.to_thread(database.dump, servers.admin_url, snapshot, dump.write)
        dump.close()


async def _add_stream(archive: ArchiveWriter, client: Client, stream: str) -> None:
    content = PartWriter(archive, f"{STREAMS}/{stream}")
    description = await streams.take_snapshot(client, stream, content.write)
    if description is None:
        raise BackupFailed(
            f"NATS has no stream {stream}: start the system with `make up`, which creates it, and try again"
        )
    content.close()
    archive.add(f"{STREAMS}/{stream}/{STREAM_DESCRIPTION}", orjson.dumps(description))


def _add_secrets(archive: ArchiveWriter, source: BackupSource) -> int:
    left_out = frozenset() if source.with_keks else frozenset({source.secrets_dir / KEKS})
    return _add_files(archive, SECRETS, source.secrets_dir, left_out)


def _add_files(archive: ArchiveWriter, name: str, directory: Path, left_out: frozenset[Path] = frozenset()) -> int:
    """Add the files of a directory and return their number; those that vanish meanwhile were not needed any more."""
    count = 0
    for file in sorted(directory.rglob("*")):
        relative = file.relative_to(directory)
        if file in left_out or any(part.startswith(".") for part in relative.parts):
            continue
        try:
            if not file.is_file():
                continue
            content = file.read_bytes()
        except FileNotFoundError:
            continue
        archive.add(f"{name}/{relative.as_posix()}", content)
        count += 1
    return count


def _describe(source: BackupSource) -> BackupManifest:
    admin_url = source.servers.admin_url
    applied = read_applied(admin_url)
    if missing := sorted(service for service, schema in applied.items() if schema.revision is None):
        raise BackupFailed(
            f"the database has no tables of {', '.join(missing)}: start the system with `make up` once, which makes them"
        )
    return BackupManifest(
        format=FORMAT,
        version=importlib.metadata.version("keyferry"),
        created_at=datetime.now(UTC),
        database=str(make_url(admin_url.reveal()).database),
        postgres_major=database.server_major(admin_url),
        schemas={service: (schema.revision, schema.digest) for service, schema in applied.items()},
        streams=[*streams.OF_REQUESTS, *streams.of_events()],
        with_keks=source.with_keks,
    )
