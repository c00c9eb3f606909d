"""Whether a service's tables are the ones it was built for, asked at start without loading the migration tool.

Migrations are files `NNNN_slug.py` whose revision id is `NNNN`, in one line; the version table stands in the service's schema.
"""

import re
from pathlib import Path

from sqlalchemy import column, func, select, table
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

VERSION_TABLE = "schema_version"
"""Table that holds the applied revision, one per schema."""
_REVISION_FILE = re.compile(r"(\d{4})_\w+\.py")
_UNDEFINED = ("42P01", "3F000")
"""SQLSTATE of a table and of a schema that does not exist (PostgreSQL documentation, appendix A)."""


class SchemaMismatch(Exception):
    """The tables are not those of this build; the message says what to do."""


def head_revision(versions_dir: Path) -> str:
    """The newest revision among `versions_dir/NNNN_slug.py`. Raises SchemaMismatch when there is none."""
    revisions = [match[1] for path in versions_dir.glob("*.py") if (match := _REVISION_FILE.fullmatch(path.name))]
    if not revisions:
        raise SchemaMismatch(f"no migrations in {versions_dir}: this build is incomplete; install it again")
    return max(revisions)


def mismatch(schema: str, applied: str | None, head: str) -> str | None:
    """What is wrong with a schema at revision `applied` for a build made for `head`, and the way out; None when right.

    Revisions are zero-padded numbers, so text order is their order.
    """
    if applied == head:
        return None
    if applied is None:
        return f"the database schema {schema!r} is not set up: run `make up` (it migrates)"
    if not re.fullmatch(r"\d{4}", applied):
        return (
            f"the database schema {schema!r} is at revision {applied!r}, which no build of Keyferry makes: "
            "point the service at its own database, or restore a backup"
        )
    if applied < head:
        return f"the database schema {schema!r} is at {applied}, this build needs {head}: run `make up` (it migrates)"
    return f"the database schema {schema!r} is at {applied}, newer than this build ({head}): use a newer build"


async def require_current_schema(engine: AsyncEngine, schema: str, versions_dir: Path) -> None:
    """Pass when `schema` is at the newest revision in `versions_dir`; else raise SchemaMismatch.

    Database errors other than a missing table or schema pass through as SQLAlchemy's.
    """
    head = head_revision(versions_dir)
    if problem := mismatch(schema, await _applied(engine, schema), head):
        raise SchemaMismatch(problem)


async def _applied(engine: AsyncEngine, schema: str) -> str | None:
    newest = select(func.max(column("version_num"))).select_from(table(VERSION_TABLE, schema=schema))
    try:
        async with engine.connect() as connection:
            found = await connection.scalar(newest)
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) in _UNDEFINED:
            return None
        raise
    return None if found is None else str(found)
