"""Whether a service's tables are the ones it was built for, asked at start without loading the migration tool.

Migrations are files `NNNN_slug.py` whose revision id is `NNNN`, in one line; the version table stands in the service's schema.
"""

import re
from enum import StrEnum
from pathlib import Path

from sqlalchemy import column, func, select, table
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql import Select

from keyferry.runtime.process.settings import CannotStart

VERSION_TABLE = "schema_version"
"""Table that holds the applied revision, one per schema."""
UNDEFINED_TABLE = ("42P01", "3F000")
"""SQLSTATE of a table and of a schema that does not exist (PostgreSQL documentation, appendix A)."""
_REVISION = re.compile(r"\d{4}")
_REVISION_FILE = re.compile(r"(\d{4})_\w+\.py")


class SchemaState(StrEnum):
    """How the applied revision stands to the newest one that a build knows."""

    CURRENT = "current"
    BEHIND = "behind"
    AHEAD = "ahead"
    UNKNOWN = "unknown"


class SchemaMismatch(CannotStart):
    """The tables are not those of this build; the message says what to do."""


def head_revision(versions_dir: Path) -> str:
    """The newest revision among `versions_dir/NNNN_slug.py`. Raises SchemaMismatch when there is none."""
    revisions = [match[1] for path in versions_dir.glob("*.py") if (match := _REVISION_FILE.fullmatch(path.name))]
    if not revisions:
        raise SchemaMismatch(f"no migrations in {versions_dir}: this build is incomplete; install it again")
    return max(revisions)


def schema_state(applied: str | None, head: str) -> SchemaState:
    """The state of a schema at revision `applied` (none before the first migration) for a build made for `head`.

    Revisions are zero-padded numbers, so text order is their order.
    """
    if applied is not None and not _REVISION.fullmatch(applied):
        return SchemaState.UNKNOWN
    if applied is None or applied < head:
        return SchemaState.BEHIND
    return SchemaState.CURRENT if applied == head else SchemaState.AHEAD


def mismatch(schema: str, applied: str | None, head: str) -> str | None:
    """What is wrong with a schema and the way out, for a person; None when it is current."""
    match schema_state(applied, head):
        case SchemaState.CURRENT:
            return None
        case SchemaState.BEHIND:
            at = f"at {applied}" if applied else "not set up"
            return f"the database schema {schema!r} is {at}, this build needs {head}: run `make up` (it migrates)"
        case SchemaState.AHEAD:
            return f"the database schema {schema!r} is at {applied}, newer than this build ({head}): use a newer build"
        case SchemaState.UNKNOWN:
            return (
                f"the database schema {schema!r} is at revision {applied!r}, which no build makes: "
                "point the service at its own database, or restore a backup"
            )


def applied_revision(schema: str) -> Select[str | None]:
    """The query for the revision a schema is at; fails with one of UNDEFINED_TABLE before the first migration."""
    return select(func.max(column("version_num"))).select_from(table(VERSION_TABLE, schema=schema))


async def require_current_schema(engine: AsyncEngine, schema: str, versions_dir: Path) -> None:
    """Pass when `schema` is at the newest revision in `versions_dir`; else raise SchemaMismatch.

    Database errors other than a missing table or schema pass through as SQLAlchemy's.
    """
    head = head_revision(versions_dir)
    try:
        async with engine.connect() as connection:
            applied = await connection.scalar(applied_revision(schema))
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) not in UNDEFINED_TABLE:
            raise
        applied = None
    if problem := mismatch(schema, applied, head):
        raise SchemaMismatch(problem)
