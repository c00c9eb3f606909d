"""Check at start that a service's tables have the revision of its build, without loading the migration tool.

Migrations are files `NNNN_slug.py` with revision id `NNNN`, in one line; the version table is in the service's schema. Its
comment is a digest of the migrations that made the tables, since two builds may have different migrations with the same number.
"""

import hashlib
import re
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class AppliedSchema:
    """What the version table says about the tables of a service."""

    revision: str | None = None
    """None before the first migration."""
    digest: str | None = None
    """`migrations_digest` up to that revision, of the build that applied it; None for builds that did not record it."""


class SchemaState(StrEnum):
    """The applied revision in relation to the newest one of a build."""

    CURRENT = "current"
    BEHIND = "behind"
    AHEAD = "ahead"
    DIFFERENT = "different"
    """Migrations with the same numbers made it, but they were not this build's."""
    UNKNOWN = "unknown"


class SchemaMismatch(CannotStart):
    """The tables have another revision than this build needs; the message says what to do."""


def head_revision(versions_dir: Path) -> str:
    """Return the newest revision among `versions_dir/NNNN_slug.py`. Raises SchemaMismatch if there is none."""
    revisions = [match[1] for path in versions_dir.glob("*.py") if (match := _REVISION_FILE.fullmatch(path.name))]
    if not revisions:
        raise SchemaMismatch(f"no migrations in {versions_dir}: this build is incomplete; install it again")
    return max(revisions)


def migrations_digest(versions_dir: Path, revision: str) -> str:
    """Return a digest (SHA-256, hex) of all migrations up to `revision`, which must not change once they are released."""
    found = sorted(path for path in versions_dir.glob("*.py") if _REVISION_FILE.fullmatch(path.name))
    digest = hashlib.sha256()
    for path in found:
        if path.name[: len(revision)] <= revision:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def schema_state(applied: AppliedSchema, versions_dir: Path) -> SchemaState:
    """Return the state of a schema for a build with the migrations in `versions_dir`. Raises SchemaMismatch if it has none.

    Revisions are zero-padded numbers, so they sort as text.
    """
    head = head_revision(versions_dir)
    if applied.revision is None:
        return SchemaState.BEHIND
    if not _REVISION.fullmatch(applied.revision):
        return SchemaState.UNKNOWN
    if applied.revision > head:
        return SchemaState.AHEAD
    if applied.digest != migrations_digest(versions_dir, applied.revision):
        return SchemaState.DIFFERENT
    return SchemaState.CURRENT if applied.revision == head else SchemaState.BEHIND


def describe_mismatch(schema: str, found: AppliedSchema, versions_dir: Path) -> str | None:
    """Describe what is wrong with a schema and the remedy; None if it is current. Raises SchemaMismatch like `schema_state`."""
    applied, head = found.revision, head_revision(versions_dir)
    match schema_state(found, versions_dir):
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
        case SchemaState.DIFFERENT:
            return (
                f"the database schema {schema!r} is at {applied}, but was made by other migrations than this build's: use the"
                " build that made it, or move the home directory away and start anew (see CHANGELOG.md). Nothing was changed"
            )
        case SchemaState.UNKNOWN:
            return (
                f"the database schema {schema!r} is at revision {applied!r}, which no build has: "
                "point the service at its own database, or restore a backup"
            )


def applied_schema(schema: str) -> Select[str | None, str | None]:
    """Return the query for the fields of AppliedSchema; it fails with one of UNDEFINED_TABLE before the first migration."""
    version_table = func.to_regclass(f"{schema}.{VERSION_TABLE}")
    return select(func.max(column("version_num")), func.obj_description(version_table, "pg_class")).select_from(
        table(VERSION_TABLE, schema=schema)
    )


async def require_current_schema(engine: AsyncEngine, schema: str, versions_dir: Path) -> None:
    """Pass if `schema` is at the newest revision in `versions_dir`; else raise SchemaMismatch.

    Other database errors than a missing table or schema pass through as SQLAlchemy's.
    """
    try:
        async with engine.connect() as connection:
            applied = AppliedSchema(*(await connection.execute(applied_schema(schema))).one())
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) not in UNDEFINED_TABLE:
            raise
        applied = AppliedSchema()
    if problem := describe_mismatch(schema, applied, versions_dir):
        raise SchemaMismatch(problem)
