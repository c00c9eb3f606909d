"""Migrate every service's tables to the revision of this build, as that service's own role.

    python -m deploy.postgres.migrate --admin-url-file FILE [--check]

FILE holds a superuser's SQLAlchemy URL. The URL file of each service is created beside it. Migrations are
`services/<name>/migrations/versions/NNNN_slug.py`, each in its own transaction.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, ProgrammingError, SQLAlchemyError

from deploy.postgres import roles
from keyferry.contracts.secret import Secret
from keyferry.runtime.database.connecting import prefer_writable
from keyferry.runtime.database.schema_check import (
    UNDEFINED_TABLE,
    AppliedSchema,
    SchemaMismatch,
    SchemaState,
    applied_schema,
    describe_mismatch,
    head_revision,
    schema_state,
)
from keyferry.runtime.process.os_errors import describe_os_error, remedy_for
from keyferry.runtime.process.settings import CannotStart


class MigrationFailed(CannotStart):
    """PostgreSQL refused a migration, of which nothing is left; the message says which tables, why, and what to do."""


SERVICES_ROOT = Path(__file__).parents[2] / "services"
_LOCK = 0x4B455946  # "KEYF": the advisory lock that admits one migrator at a time


def versions_dir(service: str, services_root: Path = SERVICES_ROOT) -> Path:
    """Return the directory of a service's migrations."""
    return services_root / service / "migrations" / "versions"


def read_status(
    admin_url: Secret,
    services: Sequence[str] = roles.SERVICES_WITH_TABLES,
    services_root: Path = SERVICES_ROOT,
) -> dict[str, SchemaState]:
    """Return the state of each service's tables. Raises SchemaMismatch if this build has no migrations for one."""
    return {
        service: schema_state(applied, versions)
        for service, applied, versions in _read_applied(admin_url, services, services_root)
    }


def read_applied(admin_url: Secret) -> dict[str, AppliedSchema]:
    """Return what was applied to each service's tables."""
    with _engine(admin_url) as engine:
        return {service: _read_applied_schema(engine, service) for service in roles.SERVICES_WITH_TABLES}


def find_problems(
    admin_url: Secret,
    services: Sequence[str] = roles.SERVICES_WITH_TABLES,
    services_root: Path = SERVICES_ROOT,
) -> list[str]:
    """Return one line per service whose tables are not current, with the remedy."""
    found = (describe_mismatch(*row) for row in _read_applied(admin_url, services, services_root))
    return [problem for problem in found if problem is not None]


def migrate(
    admin_url: Secret,
    secrets_dir: Path,
    *,
    services: Sequence[str] = roles.SERVICES_WITH_TABLES,
    services_root: Path = SERVICES_ROOT,
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, Path]:
    """Create roles and schemas and apply missing migrations; return each service's URL file.

    Concurrent migrators wait for each other. Raises SchemaMismatch, before anything is changed, if tables are newer than this
    build, unknown to it, or made by other migrations, and MigrationFailed; SQLAlchemy's and psycopg's other errors propagate.
    """
    with _lock_migrations(admin_url):
        rows = list(_read_applied(admin_url, services, services_root))
        for service, applied, versions in rows:
            if schema_state(applied, versions) not in (SchemaState.CURRENT, SchemaState.BEHIND):
                raise SchemaMismatch(describe_mismatch(service, applied, versions))
        url_files = roles.ensure_roles(admin_url, secrets_dir, services)
        for service, applied, versions in rows:
            if schema_state(applied, versions) is SchemaState.BEHIND:
                log(f"migrating {service}: {applied.revision or 'nothing'} -> {head_revision(versions)}")
                try:
                    _upgrade(Secret(url_files[service].read_text()), service, services_root)
                except DBAPIError as error:
                    raise MigrationFailed(_describe_failure(service, head_revision(versions), error)) from None
    return url_files


def _read_applied(
    admin_url: Secret, services: Sequence[str], services_root: Path
) -> Iterator[tuple[str, AppliedSchema, Path]]:
    """Yield service, what was applied, and the directory of this build's migrations."""
    with _engine(admin_url) as engine:
        for service in services:
            yield service, _read_applied_schema(engine, service), versions_dir(service, services_root)


def _read_applied_schema(engine: Engine, schema: str) -> AppliedSchema:
    try:
        with engine.connect() as connection:
            return AppliedSchema(*connection.execute(applied_schema(schema)).one())
    except ProgrammingError as error:
        if isinstance(error.orig, psycopg.Error) and error.orig.sqlstate in UNDEFINED_TABLE:
            return AppliedSchema()
        raise


def _upgrade(url: Secret, service: str, services_root: Path) -> None:
    # Imported here: the import alone takes longer than a start with current tables should.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _escape_percent(Path(__file__).parent))
    config.set_main_option("version_locations", _escape_percent(versions_dir(service, services_root)))
    config.set_main_option("path_separator", "newline")
    with _engine(url) as engine, engine.connect() as connection:
        config.attributes["connection"] = connection
        config.attributes["schema"] = service
        config.attributes["versions_dir"] = versions_dir(service, services_root)
        command.upgrade(config, "head")


def _describe_failure(service: str, head: str, error: DBAPIError) -> str:
    reason = next(iter(str(error.orig).strip().splitlines()), type(error.orig).__name__)
    return (
        f"the tables of {service} could not be migrated to {head}: {reason}. A migration is applied whole or not at all, and"
        " those before it are kept: remove the cause and run this again, which continues there. To go back to the former build,"
        " restore the backup from before the upgrade"
    )


def _escape_percent(path: Path) -> str:
    """Escape a path for Alembic's configuration, which interpolates percent signs."""
    return str(path).replace("%", "%%")


@contextmanager
def _engine(url: Secret) -> Iterator[Engine]:
    engine = create_engine(prefer_writable(make_url(url.reveal())), poolclass=NullPool)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _lock_migrations(admin_url: Secret) -> Iterator[None]:
    """Hold the migration lock; the server releases it with the connection, even if this process dies."""
    with roles.connect(make_url(admin_url.reveal())) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        yield


def _describe(error: Exception, admin_url_file: Path) -> str:
    """Return what happened, without the text of SQLAlchemy's own errors, which may repeat a URL."""
    if isinstance(error, ArgumentError | UnicodeDecodeError):
        return f"{admin_url_file} holds no SQLAlchemy URL: restore it from a backup"
    if isinstance(error, OSError):
        return ". ".join(filter(None, (describe_os_error(error), remedy_for(error))))
    return str(error.orig if isinstance(error, DBAPIError) else error).strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return 0 if all tables are current at the end, else 1."""
    parser = argparse.ArgumentParser(prog="python -m deploy.postgres.migrate", description=__doc__.splitlines()[0])
    parser.add_argument("--admin-url-file", type=Path, required=True, help="a superuser's SQLAlchemy URL")
    parser.add_argument(
        "--check", action="store_true", help="only report whether the tables are current; change nothing"
    )
    parser.add_argument("--services-root", type=Path, default=SERVICES_ROOT, help="the directory of the services' code")
    options = parser.parse_args(arguments)
    file: Path = options.admin_url_file
    root: Path = options.services_root
    try:
        admin_url = Secret(file.read_text().strip())
        if not options.check:
            migrate(admin_url, file.parent, services_root=root, log=print)
        found = find_problems(admin_url, services_root=root)
    except (SchemaMismatch, MigrationFailed, OSError, psycopg.Error, SQLAlchemyError, UnicodeDecodeError) as error:
        found = [_describe(error, file)]
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        print("all tables are current")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
