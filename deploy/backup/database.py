"""The database of a backup: PostgreSQL's own dump of one snapshot, taken while no outbox loses a row."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from deploy.backup.database_tunnel import plain_options
from deploy.backup.errors import BackupFailed
from deploy.backup.servers import connect, find_client_program
from deploy.postgres.roles import SERVICES_WITH_TABLES, ensure_roles
from keyferry.contracts.secret import Secret
from keyferry.runtime.database.connecting import libpq_options

_LOCK_SECONDS = 15
_READ_BYTES = 1 << 20
_OUTPUT_CHARACTERS = 1500
EVENT_OUTBOX = "event_outbox"


@contextmanager
def holding_outboxes(admin_url: Secret) -> Iterator[None]:
    """Let no outbox of events lose or get a row. Raises BackupFailed if that cannot be had within seconds.

    An event that is published meanwhile keeps its row. So a snapshot of the database that is taken before the end of this
    block has each event that a snapshot of its stream, taken within the block, lacks.
    """
    with connect(admin_url) as connection, connection.transaction():
        tables = [
            sql.Identifier(schema, EVENT_OUTBOX) for schema in SERVICES_WITH_TABLES if _has_outbox(connection, schema)
        ]
        connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'".encode())
        try:
            if tables:
                connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.SQL(", ").join(tables)))
        except psycopg.errors.LockNotAvailable:
            raise BackupFailed(
                f"the outboxes could not be held within {_LOCK_SECONDS} s, because a change of many rows is under way: try again"
            ) from None
        yield


def _has_outbox(connection: psycopg.Connection[tuple[object, ...]], schema: str) -> bool:
    found = connection.execute("SELECT to_regclass(%s)", (f"{schema}.{EVENT_OUTBOX}",)).fetchone()
    return found is not None and found[0] is not None


@contextmanager
def exported_snapshot(admin_url: Secret) -> Iterator[str]:
    """Yield the id of a snapshot of the database, which can be used until the end of the block. Raises BackupFailed."""
    with connect(admin_url) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        yield str(row[0])
        connection.execute("ROLLBACK")


def server_major(admin_url: Secret) -> int:
    """Return the major version of the server. Raises BackupFailed."""
    with connect(admin_url) as connection:
        return connection.info.server_version // 10_000


def dump(admin_url: Secret, snapshot: str, write: Callable[[bytes], None]) -> None:
    """Pass a dump in PostgreSQL's custom format to `write`. Raises BackupFailed, and what `write` raises."""
    schemas = [f"--schema={schema}" for schema in SERVICES_WITH_TABLES]
    arguments = ["--format=custom", "--compress=1", f"--snapshot={snapshot}", *schemas]
    with plain_options(_options(admin_url)) as options, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [str(find_client_program("pg_dump")), *arguments, f"--dbname={_conninfo(options)}"],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(options),
        )
        assert process.stdout is not None
        try:
            while content := process.stdout.read(_READ_BYTES):
                write(content)
        except BaseException:  # also an interrupt: it would wait for somebody to read its output
            process.kill()
            raise
        finally:
            process.stdout.close()
            status = process.wait()
        if status != 0:
            raise BackupFailed(f"the database could not be dumped: {_last_output(errors)}")


def find_tables(admin_url: Secret) -> list[str]:
    """Return which services have tables in a database already. Raises BackupFailed."""
    query = "SELECT schemaname FROM pg_tables WHERE schemaname = ANY(%s) GROUP BY schemaname ORDER BY schemaname"
    with connect(admin_url) as connection:
        return [str(row[0]) for row in connection.execute(query, (list(SERVICES_WITH_TABLES),))]


def load(admin_url: Secret, secrets_dir: Path, file: Path) -> None:
    """Load a dump into an empty database, with the services' roles. Raises BackupFailed and psycopg.Error."""
    ensure_roles(admin_url, secrets_dir, SERVICES_WITH_TABLES)
    with connect(admin_url) as connection:
        for schema in SERVICES_WITH_TABLES:
            try:  # those that have just been made; without CASCADE nothing of value can go with them
                connection.execute(sql.SQL("DROP SCHEMA {} RESTRICT").format(sql.Identifier(schema)))
            except psycopg.errors.DependentObjectsStillExist:
                raise BackupFailed(
                    f"the database has a schema {schema!r} with tables: restore into an empty one"
                ) from None
    jobs = f"--jobs={min(4, os.cpu_count() or 1)}"
    with plain_options(_options(admin_url)) as options, tempfile.TemporaryFile() as errors:
        done = subprocess.run(
            [
                str(find_client_program("pg_restore")),
                "--exit-on-error",
                jobs,
                f"--dbname={_conninfo(options)}",
                str(file),
            ],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=_environment(options),
            check=False,
        )
        if done.returncode != 0:
            raise BackupFailed(f"the database could not be loaded: {_last_output(errors)}")
    with connect(admin_url) as connection:
        connection.execute("ANALYZE")


def _options(admin_url: Secret) -> dict[str, Any]:
    return libpq_options(make_url(admin_url.reveal()))


def _conninfo(options: Mapping[str, Any]) -> str:
    """Return the options for libpq without the password, which other users could see among a process's arguments."""
    return make_conninfo(**{name: value for name, value in options.items() if name != "password"})


def _environment(options: Mapping[str, Any]) -> Mapping[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": str(options.get("password") or "")}


def _last_output(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode(errors="replace").strip()[-_OUTPUT_CHARACTERS:] or "it says nothing"
