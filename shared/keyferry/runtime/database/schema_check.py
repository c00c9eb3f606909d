"""Check at start that a service's tables have the revision of its build, without loading the migration tool.

Migrations are files `NNNN_slug.py` with revision id `NNNN`, in one line; the version table is in the service's schema.
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
"""Table with the applied revision, one per schema."""
UNDEFINED_TABLE = ("42P01", "3F000")
"""SQLSTATEs of a missing table and of a missing schema (PostgreSQL documentation, appendix A)."""
_REVISION = re.compile(r"\d{4}")
_REVISION_FILE = re.compile(r"(\d{4})_\w+\.py")


class SchemaState(StrEnum):
    """The applied revision in relation to the newest one of a build."""

    CURRENT = "current"
    BEHIND = "behind"
    AHEAD = "ahead"
    UNKNOWN = "unknown"


class SchemaMismatch(CannotStart):
    """The tables have another revision than this build needs; the message says what to do."""


def head_revision(versions_dir: Path) -> str:
    """Return the newest revision among `versions_dir/NNNN_slug.py`. Raises SchemaMismatch if there is none."""
    revisions = [match[1] for path in versions_dir.glob("*.py") if (match := _REVISION_FILE.fullmatch(path.name))]
    if not revisions:
        raise SchemaMismatch(f"no migrations in {versions_dir}: this build is incomplete; install it again")
    return max(revisions)


def schema_state(applied: str | None, head: str) -> SchemaState:
    """Return the state of a schema at revision `applied` (none before the first migration) for a build that needs `head`.

    Revisions are zero-padded numbers, so they sort as text.
    """
    if applied is not None and not _REVISION.fullmatch(applied):
        return SchemaState.UNKNOWN
    if applied is None or applied < head:
        return SchemaState.BEHIND
    return SchemaState.CURRENT if applied == head else SchemaState.AHEAD


def describe_mismatch(schema: str, applied: str | None, head: str) -> str | None:
    """Describe what is wrong with a schema and the remedy; None if it is current."""
    match schema_state(applied, head):
        case SchemaState.CURRENT:
            return None
        case SchemaState.BEHIND:
            at = f"at {applied}" if applied else "not set up"
            return f"the database schema {schema!r} is {at}, this build needs {head}: run `make up` (it migrates)"
        case SchemaState.AHEAD:
            return (
                f"the database schema {schema!r} is at {applied}, newer than this build ({head}): use a newer build. If an "
                "older build made it, it cannot be upgraded: move the home directory away and start anew (see CHANGELOG.md)"
            )
        case SchemaState.UNKNOWN:
            return (
                f"the database schema {schema!r} is at revision {applied!r}, which no build has: "
                "point the service at its own database, or restore a backup"
            )


def applied_revision(schema: str) -> Select[str | None]:
    """Return the query for the revision of a schema; it fails with one of UNDEFINED_TABLE before the first migration."""
    return select(func.max(column("version_num"))).select_from(table(VERSION_TABLE, schema=schema))


async def require_current_schema(engine: AsyncEngine, schema: str, versions_dir: Path) -> None:
    """Pass if `schema` is at the newest revision in `versions_dir`; else raise SchemaMismatch.

    Other database errors than a missing table or schema pass through as SQLAlchemy's.
    """
    head = head_revision(versions_dir)
    try:
        async with engine.connect() as connection:
            applied = await connection.scalar(applied_revision(schema))
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) not in UNDEFINED_TABLE:
            raise
        applied = None
    if problem := describe_mismatch(schema, applied, head):
        raise SchemaMismatch(problem)
