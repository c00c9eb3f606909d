"""One schema and one login role per service with tables, so that no service can read another's.

Beside each login role is one that sees the rows of a single tenant (`keyferry.runtime.database.tenant_isolation`); the service
takes it for the transactions of a tenant's requests.

Roles belong to the whole server and schemas to a database, so a role's name starts with the database's: two installations may
share a server.
"""

import secrets
from collections.abc import Iterable
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from keyferry.contracts.secret import Secret
from keyferry.runtime.database.connecting import libpq_options
from keyferry.runtime.database.tenant_isolation import tenant_role

SERVICES_WITH_TABLES = ("tenant_directory", "router", "usage_ledger", "key_vault", "billing", "notifier")
_PASSWORD_BYTES = 24


def ensure_roles(admin_url: Secret, secrets_dir: Path, services: Iterable[str]) -> dict[str, Path]:
    """Create or update schema, role and URL file of each service; return the URL files by service.

    A known password is kept and set again, which repairs a restored database or a changed port. Needs a superuser's
    SQLAlchemy URL. Raises psycopg.Error.
    """
    admin = make_url(admin_url.reveal())
    files = write_url_files(admin_url, secrets_dir, services)
    with connect(admin) as connection:
        _revoke_public(connection, str(admin.database))
        for service, file in files.items():
            _ensure_role(connection, service, make_url(file.read_text()))
    return files


def write_url_files(admin_url: Secret, secrets_dir: Path, services: Iterable[str]) -> dict[str, Path]:
    """Write the URL file of each service, with a new password where there is none yet; return them by service."""
    admin = make_url(admin_url.reveal())
    secrets_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {service: _write_url_file(admin, secrets_dir, service) for service in services}


def connect(url: URL) -> psycopg.Connection[tuple[object, ...]]:
    """Connect with psycopg in autocommit mode to a SQLAlchemy URL."""
    return psycopg.connect(**libpq_options(url) | {"autocommit": True, "connect_timeout": 10})


def write_secret(path: Path, text: str) -> None:
    """Write a secret file atomically, readable only by its owner."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def _write_url_file(admin: URL, secrets_dir: Path, service: str) -> Path:
    """Write the file with the service's URL and return it.

    It is written before the role gets the password: the next run repairs a crash in between, while the other order would lose
    the password.
    """
    file = secrets_dir / f"{service}.url"
    known = make_url(file.read_text().strip()).password if file.exists() else None
    wanted = admin.set(
        drivername="postgresql+psycopg",
        username=f"{admin.database}_{service}",
        password=known or secrets.token_urlsafe(_PASSWORD_BYTES),
    ).render_as_string(hide_password=False)
    if not file.exists() or file.read_text() != wanted:
        write_secret(file, wanted)
    return file


def _revoke_public(connection: psycopg.Connection[tuple[object, ...]], database: str) -> None:
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
    connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    # With it a query could replace its own role and tenant. Statements that set them cannot be part of a query.
    connection.execute("REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC")


def _ensure_role(connection: psycopg.Connection[tuple[object, ...]], service: str, url: URL) -> None:
    role, password = str(url.username), str(url.password)
    for name in (role, tenant_role(role)):
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
    # Hashed by the client, so that no statement the server may log contains the password.
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    names = {
        "role": sql.Identifier(role),
        "tenant_role": sql.Identifier(tenant_role(role)),
        "schema": sql.Identifier(service),
        "database": sql.Identifier(str(url.database)),
        "verifier": sql.Literal(verifier),
    }
    for statement in (
        "ALTER ROLE {role} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {verifier}",
        "ALTER ROLE {tenant_role} WITH NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS",
        # Without inheritance: the service has the tenant role's rights only while it is that role.
        "GRANT {tenant_role} TO {role} WITH INHERIT FALSE, SET TRUE",
        "GRANT CONNECT ON DATABASE {database} TO {role}",
        "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {role}",
        "GRANT USAGE ON SCHEMA {schema} TO {tenant_role}",
        "GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO {role}",
        "ALTER ROLE {role} IN DATABASE {database} SET search_path = {schema}",
    ):
        connection.execute(sql.SQL(statement).format(**names))
