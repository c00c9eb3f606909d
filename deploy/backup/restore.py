"""Restoring a backup into an empty home, with its own servers or with others, or checking one without restoring it.

Nothing is started or loaded before the whole archive was read and found complete. A restore that ends halfway leaves a mark in
the home, with which `make up` and a second restore refuse it.
"""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyrage

from deploy.backup import audit_entry, database, streams
from deploy.backup.archive import ArchiveReader, reading
from deploy.backup.elsewhere import SEED, RestoreTarget, require_fitting
from deploy.backup.errors import BackupFailed
from deploy.backup.manifest import DATABASE, SECRETS, SPOOL, STREAM_DESCRIPTION, STREAMS, BackupManifest
from deploy.backup.servers import FOR_LOADING, Log, Servers, holding, own_servers
from deploy.embedded.home import Home
from deploy.embedded.system import DATABASE as DATABASE_NAME
from deploy.postgres.migrate import versions_dir
from deploy.postgres.roles import SERVICES_WITH_TABLES, write_secret
from keyferry.contracts.secret import Secret
from keyferry.runtime.database.schema_check import AppliedSchema, SchemaState, schema_state

_UNPACKED = "unpacked"
"""In the directory that marks an unfinished restore: the dump and the snapshots of streams."""


@dataclass(frozen=True, slots=True)
class BackupContents:
    """What a backup was found to contain."""

    manifest: BackupManifest
    members: Counter[str]
    """By the first part of their names."""
    bytes_by_part: Counter[str]


def verify(source: str, identities: list[pyrage.x25519.Identity]) -> BackupContents:
    """Read a whole backup, and return what is in it. Raises BackupFailed and OSError."""
    members: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    with reading(source, identities) as archive:
        manifest = archive.read_manifest()
        for name, content in archive.members():
            part = name.partition("/")[0]
            members[part] += 1
            sizes[part] += len(content)
    _check_parts(members)
    return BackupContents(manifest, members, sizes)


async def restore(
    source: str,
    identities: list[pyrage.x25519.Identity],
    home: Home,
    log: Log,
    target: RestoreTarget | None = None,
) -> BackupManifest:
    """Restore a backup into `home`, which must be empty; with `target` only secrets and spools, and the rest into its servers.

    Raises LaunchFailed, SettingsError, psycopg.Error and OSError.
    """
    home.prepare()
    with holding(home):
        _require_empty(home)
        home.unfinished_restore.mkdir(mode=0o700)
        try:
            with reading(source, identities) as archive:
                manifest = await asyncio.to_thread(_unpack, archive, home, _database_of(target))
            if target is not None:
                unpacked_seed = home.unfinished_restore / _UNPACKED / SECRETS / SEED
                await require_fitting(target, manifest, target.seed_file or unpacked_seed)
        except BaseException:  # also an interrupt: nothing else was written, so the home is empty again
            shutil.rmtree(home.unfinished_restore)
            raise
        _move_into_place(home)
        log(f"the backup of {manifest.created_at.isoformat(timespec='seconds')} is complete and unpacked")
        if target is None:
            async with own_servers(home, FOR_LOADING) as servers:
                await _load(servers, manifest, home, log, replicas=1)
        else:
            write_secret(home.database_secrets / "admin.url", target.admin_url.reveal())
            servers = Servers(target.admin_url, target.nats_url, target.seed_file or home.secrets / SEED)
            await _load(servers, manifest, home, log, target.replicas)
        await asyncio.to_thread(os.sync)
        shutil.rmtree(home.unfinished_restore)
    return manifest


def _database_of(target: RestoreTarget | None) -> str | None:
    """Return which database a backup has to be of; servers elsewhere are checked with the backup in hand."""
    return DATABASE_NAME if target is None else None


async def _load(servers: Servers, manifest: BackupManifest, home: Home, log: Log, replicas: int) -> None:
    """Load the streams, each kept by `replicas` servers, and the database."""
    unpacked = home.unfinished_restore / _UNPACKED
    async with streams.provisioner(servers.nats_url, servers.provisioner_seed) as client:
        for stream in manifest.streams:
            directory = unpacked / STREAMS / stream
            description = streams.with_replicas(orjson.loads((directory / STREAM_DESCRIPTION).read_bytes()), replicas)
            await streams.restore_snapshot(client, stream, description, directory / "content")
    log(f"{len(manifest.streams)} streams are restored")
    await asyncio.to_thread(database.load, servers.admin_url, home.database_secrets, unpacked / DATABASE / "content")
    log("the database is restored")
    await asyncio.to_thread(_record, servers.admin_url, manifest)


def _unpack(archive: ArchiveReader, home: Home, database_name: str | None) -> BackupManifest:
    manifest = archive.read_manifest()
    _check_manifest(manifest, database_name)
    members: Counter[str] = Counter()
    for name, content in archive.members():
        part, _, rest = name.partition("/")
        members[part] += 1
        _write(_place(home, part, rest), content, append=part in (STREAMS, DATABASE))
    _check_parts(members)
    for stream in manifest.streams:
        if not (home.unfinished_restore / _UNPACKED / STREAMS / stream / STREAM_DESCRIPTION).is_file():
            raise BackupFailed(f"the backup has no stream {stream}, although it names it: use another one")
    return manifest


def _place(home: Home, part: str, rest: str) -> Path:
    """Return the file for a member; the parts of a dump and of a snapshot go into one file each."""
    unpacked = home.unfinished_restore / _UNPACKED
    match part:
        case "secrets" | "spool":
            return unpacked / part / rest
        case "streams":
            stream, _, name = rest.partition("/")
            return unpacked / STREAMS / stream / (name if name == STREAM_DESCRIPTION else "content")
        case "database":
            return unpacked / DATABASE / "content"
    raise BackupFailed(
        f"the backup has a member that this build does not know, {part[:100]!r}: use the build that made it"
    )


def _move_into_place(home: Home) -> None:
    """Replace the empty directories of secrets and spools by those of the backup."""
    unpacked = home.unfinished_restore / _UNPACKED
    for directory, place in ((unpacked / SECRETS, home.secrets), (unpacked / SPOOL, home.path / SPOOL)):
        if directory.exists():
            shutil.rmtree(place)
            directory.rename(place)


def _write(file: Path, content: bytes, *, append: bool) -> None:
    for directory in reversed([parent for parent in file.parents if not parent.exists()]):
        directory.mkdir(mode=0o700)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_EXCL)
    with os.fdopen(os.open(file, flags, 0o600), "wb") as stream:
        stream.write(content)


def _check_parts(members: Counter[str]) -> None:
    missing = [part for part in (SECRETS, STREAMS, DATABASE) if not members[part]]
    if missing:
        raise BackupFailed(f"the backup has no {', '.join(missing)}: use another one")


def _check_manifest(manifest: BackupManifest, database_name: str | None) -> None:
    """Check that this build can use what the backup contains. Raises BackupFailed."""
    if database_name is not None and manifest.database != database_name:
        raise BackupFailed(
            f"the backup is of a database named {manifest.database!r}, whose roles have that name too; `make up` uses"
            f" {database_name!r}: restore it into other servers, as docs/guides/backup.md describes"
        )
    for service in SERVICES_WITH_TABLES:
        applied = AppliedSchema(*manifest.schemas.get(service, (None, None)))
        if schema_state(applied, versions_dir(service)) not in (SchemaState.CURRENT, SchemaState.BEHIND):
            raise BackupFailed(
                f"the backup has tables of {service} that this build does not know (revision {applied.revision}): restore it"
                f" with the build that made it (version {manifest.version}), or with a newer one"
            )


def _require_empty(home: Home) -> None:
    if home.unfinished_restore.exists():
        raise BackupFailed(home.describe_unfinished_restore())
    data = next(_data_of(home), None)
    if data is not None:
        raise BackupFailed(
            f"{home.path} is not empty: there is {data.relative_to(home.path)}. Restore into another directory"
            " (KEYFERRY_HOME=DIRECTORY), or move this one away"
        )


def _data_of(home: Home) -> Iterator[Path]:
    """Yield what an installation has stored; its empty directories, logs and the tools of `make` do not count."""
    for directory in (home.secrets, home.nats, home.path / "spool"):
        yield from (path for path in directory.rglob("*") if not path.is_dir())
    yield from home.path.glob("pg[0-9]*/PG_VERSION")


def _record(admin_url: Secret, manifest: BackupManifest) -> None:
    audit_entry.record(
        admin_url,
        "installation.restore",
        f"backup of {manifest.created_at.isoformat()}",
        {"version": manifest.version},
    )
