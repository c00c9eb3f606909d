"""Bring every service's tables to what this build needs, as that service's own role.

    python -m deploy.postgres.migrate --admin-url-file FILE [--check]

The admin's file holds a superuser's SQLAlchemy URL. Each service's URL file stands beside it and is made here. Migrations are
`services/<name>/migrations/versions/NNNN_slug.py`, each in a transaction of its own.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from deploy.postgres import roles
from keyferry.contracts.secret import Secret
from keyferry.runtime.database.schema_check import (
    UNDEFINED_TABLE,
    SchemaMismatch,
    SchemaState,
    applied_revision,
    head_revision,
    mismatch,
    schema_state,
)

SERVICES_ROOT = Path(__file__).parents[2] / "services"
_LOCK = 0x4B455946  # "KEYF": the advisory lock that lets one migrator at a time into a database


def versions_dir(service: str, services_root: Path = SERVICES_ROOT) -> Path:
    """Where a service's migrations stand."""
    return services_root / service / "migrations" / "versions"


def status(
    admin_url: Secret,
    services: Sequence[str] = roles.SERVICES_WITH_TABLES,
    services_root: Path = SERVICES_ROOT,
) -> dict[str, SchemaState]:
    """How each service's tables stand to this build. Raises SchemaMismatch where the build itself has no migrations."""
    return {
        service: schema_state(applied, head)
        for service, applied, head in _revisions(admin_url, services, services_root)
    }


def problems(
    admin_url: Secret,
    services: Sequence[str] = roles.SERVICES_WITH_TABLES,
    services_root: Path = SERVICES_ROOT,
) -> list[str]:
    """What is wrong with the tables, with the way out, one line each; empty when all are current."""
    found = (mismatch(*row) for row in _revisions(admin_url, services, services_root))
    return [problem for problem in found if problem is not None]


def migrate(
    admin_url: Secret,
    secrets_dir: Path,
    *,
    services: Sequence[str] = roles.SERVICES_WITH_TABLES,
    services_root: Path = SERVICES_ROOT,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Path]:
    """Make roles and schemas and apply what is missing; each service's URL file.

    One migrator at a time works on a database, another waits. Raises SchemaMismatch, before anything is changed, when tables
    are newer than this build or not ours; SQLAlchemy's and psycopg's errors pass through.
    """
    with _locked(admin_url):
        rows = list(_revisions(admin_url, services, services_root))
        for service, applied, head in rows:
            if schema_state(applied, head) in (SchemaState.AHEAD, SchemaState.UNKNOWN):
                raise SchemaMismatch(mismatch(service, applied, head))
        url_files = roles.ensure(admin_url, secrets_dir, services)
        for service, applied, head in rows:
            if applied != head:
                say(f"migrating {service}: {applied or 'nothing'} -> {head}")
                _upgrade(Secret(url_files[service].read_text()), service, services_root)
    return url_files


def _revisions(
    admin_url: Secret, services: Sequence[str], services_root: Path
) -> Iterator[tuple[str, str | None, str]]:
    """Service, applied revision, newest known revision."""
    with _engine(admin_url) as engine:
        for service in services:
            yield service, _applied(engine, service), head_revision(versions_dir(service, services_root))


def _applied(engine: Engine, schema: str) -> str | None:
    try:
        with engine.connect() as connection:
            return connection.scalar(applied_revision(schema))
    except ProgrammingError as error:
        if isinstance(error.orig, psycopg.Error) and error.orig.sqlstate in UNDEFINED_TABLE:
            return None
        raise


def _upgrade(url: Secret, service: str, services_root: Path) -> None:
    # Loaded here, because it costs more time than a start with current tables has for all of this.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _escaped(Path(__file__).parent))
    config.set_main_option("version_locations", _escaped(versions_dir(service, services_root)))
    config.set_main_option("path_separator", "newline")
    with _engine(url) as engine, engine.connect() as connection:
        config.attributes["connection"] = connection
        config.attributes["schema"] = service
        command.upgrade(config, "head")


def _escaped(path: Path) -> str:
    """A path for Alembic's configuration, which interpolates percent signs."""
    return str(path).replace("%", "%%")


@contextmanager
def _engine(url: Secret) -> Iterator[Engine]:
    engine = create_engine(url.reveal(), poolclass=NullPool)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _locked(admin_url: Secret) -> Iterator[None]:
    """Hold the migration lock; the server releases it with the connection, whatever happens to this process."""
    with roles.connect(make_url(admin_url.reveal())) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when all tables are current at the end, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m deploy.postgres.migrate", description=__doc__.splitlines()[0])
    parser.add_argument("--admin-url-file", type=Path, required=True, help="a superuser's SQLAlchemy URL")
    parser.add_argument("--check", action="store_true", help="change nothing, only say how the tables stand")
    parser.add_argument("--services-root", type=Path, default=SERVICES_ROOT, help="where the services' code stands")
    options = parser.parse_args(arguments)
    file: Path = options.admin_url_file
    root: Path = options.services_root
    try:
        admin_url = Secret(file.read_text().strip())
        if not options.check:
            migrate(admin_url, file.parent, services_root=root, say=print)
        found = problems(admin_url, services_root=root)
    except (SchemaMismatch, OSError, psycopg.Error) as error:
        found = [str(error)]
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        print("all tables are current")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
