"""Restoring into servers that are not `make up`'s: a NATS server or cluster, and a PostgreSQL, which run and are empty."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from deploy.backup import database, streams
from deploy.backup.errors import BackupFailed
from deploy.backup.manifest import BackupManifest
from deploy.nats.provision import ProvisionError, wait_for_leader
from keyferry.contracts.channels import Role
from keyferry.contracts.secret import Secret

SEED = Path("nkeys", f"{Role.PROVISIONER.value}.seed")
"""In the directory of secrets: of the only NATS user who may create streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTarget:
    """The servers, of which TLS is as in the URLs and, for NATS, in the variables that services have."""

    admin_url: Secret
    """A superuser's SQLAlchemy URL of the empty database."""
    nats_url: str
    seed_file: Path | None = None
    """Of the NATS user `provisioner`; without it the one in the backup is used."""
    replicas: int = 1


async def require_fitting(target: RestoreTarget, manifest: BackupManifest, seed_file: Path) -> None:
    """Check that the servers can take this backup, before anything is loaded. Raises BackupFailed and SettingsError."""
    await asyncio.to_thread(_require_fitting_database, target.admin_url, manifest)
    async with streams.provisioner(target.nats_url, seed_file) as client:
        try:
            await wait_for_leader(client)
        except ProvisionError as error:
            raise BackupFailed(str(error)) from None
        existing = await streams.find_existing(client, manifest.streams)
    if existing:
        raise BackupFailed(
            f"NATS has {_enumerate(existing)} already, and a restore overwrites nothing: stop the services that use this NATS,"
            " delete these streams (`nats stream rm`), and try again"
        )


def _require_fitting_database(admin_url: Secret, manifest: BackupManifest) -> None:
    try:
        name = make_url(admin_url.reveal()).database
    except ArgumentError:
        raise BackupFailed(
            "the file of --admin-url-file holds no database URL: write postgresql+psycopg://ROLE:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    if name != manifest.database:
        raise BackupFailed(
            f"the backup is of a database named {manifest.database!r}, whose roles have that name too, and the URL names"
            f" {name!r}: create an empty database {manifest.database!r}, and name it in the URL"
        )
    major = database.server_major(admin_url)
    if major < manifest.postgres_major:
        raise BackupFailed(
            f"the backup is from PostgreSQL {manifest.postgres_major}, and the server has version {major}, which may not"
            f" understand it: restore into {manifest.postgres_major} or a newer one"
        )
    if existing := database.find_tables(admin_url):
        raise BackupFailed(
            f"the database has tables of {_enumerate(existing)}: create it anew (`DROP DATABASE`, `CREATE DATABASE`), or name"
            " another server"
        )


def _enumerate(names: Sequence[str]) -> str:
    return ", ".join(names)
