"""A database of a test's own with the tables of services: a copy of one that was migrated, in a fraction of the time."""

import functools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from deploy.embedded import postgres
from deploy.postgres import roles
from deploy.postgres.migrate import migrate
from keyferry.contracts.secret import Secret
from tests.support.servers.postgres import shared_postgres

_PASS_ON = sql.SQL("""
DO $$ DECLARE statement text; BEGIN
    FOR statement IN
        SELECT format('ALTER POLICY %I ON %s TO %I', polname, polrelid::regclass, {own} || suffix)
        FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid, (VALUES (''), ('_tenant')) AS role (suffix)
        WHERE relnamespace = {schema}::regnamespace AND ({copied} || suffix)::regrole::oid = ANY (polroles)
        UNION ALL
        SELECT format('GRANT %s ON %s TO %I', privilege_type, pg_class.oid::regclass, {own} || '_tenant')
        FROM pg_class, aclexplode(relacl)
        WHERE relnamespace = {schema}::regnamespace AND grantee = ({copied} || '_tenant')::regrole
    LOOP
        EXECUTE statement;
    END LOOP;
END $$
""")
"""Policies and grants name roles, which do not change with the owner of the table."""


@dataclass(frozen=True)
class MigratedDatabase:
    """A database whose tables are current. `url_files` has the URL file of each service's own role."""

    admin_url: Secret
    url_files: dict[str, Path]


def migrated_database(secrets_dir: Path, *services: str, synced: bool = False) -> MigratedDatabase:
    """Create a database of the run's PostgreSQL with the tables of these services; their URL files are in `secrets_dir`."""
    template = _template(services, synced)
    admin_url = shared_postgres(synced=synced).new_database(template)
    url_files = roles.ensure_roles(admin_url, secrets_dir, services)
    with psycopg.connect(postgres.driver_url(admin_url), autocommit=True) as connection:
        for service, file in url_files.items():
            copied, own = f"{template}_{service}", str(make_url(file.read_text()).username)
            statement = sql.SQL("REASSIGN OWNED BY {} TO {}")
            connection.execute(statement.format(sql.Identifier(copied), sql.Identifier(own)))
            names = {"schema": service, "copied": copied, "own": own}
            connection.execute(_PASS_ON.format(**{name: sql.Literal(value) for name, value in names.items()}))
    return MigratedDatabase(admin_url, url_files)


@functools.cache
def _template(services: Sequence[str], synced: bool) -> str:
    """Return the name of a migrated database to which nobody connects."""
    admin_url = shared_postgres(synced=synced).new_database()
    secrets_dir = Path(tempfile.mkdtemp(prefix="keyferry-migrated-"))
    try:
        migrate(admin_url, secrets_dir, services=services)
    finally:
        shutil.rmtree(secrets_dir)
    return str(make_url(admin_url.reveal()).database)
