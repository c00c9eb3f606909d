"""TLS of PostgreSQL: a real server with `ssl = on`, and the connections of services, migrations and operators to it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.certificates.authority import issue
from deploy.embedded import postgres
from deploy.postgres.migrate import migrate
from keyferry.contracts.secret import Secret
from keyferry.runtime.database import engine as database
from keyferry.runtime.database.engine import engine_for, open_database
from keyferry.runtime.process.settings import DatabaseSettings
from keyferry.runtime.tls.certificates import CertificateFiles
from services.tenant_directory.app import VERSIONS_DIR
from tests.integration.tenant_directory.processes import PEPPER, DirectoryServers
from tests.support.certificates import HOSTS, Certificates
from tests.support.servers.postgres import shared_postgres
from tests.support.servers.postgres_tls import TlsPostgres, postgres_with_tls
from tests.support.servers.provisioned_bus import provisioned_bus
from tests.support.waiting import eventually

_ENCRYPTED = text("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl")
_NAME = "server"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def running(certificates: Certificates) -> Iterator[TlsPostgres]:
    with postgres_with_tls(certificates.issue(_NAME, *HOSTS)) as server:
        yield server


@pytest.fixture
def server(running: TlsPostgres, certificates: Certificates) -> TlsPostgres:
    """The server with a certificate that holds, whatever the test before has left."""
    present(running, certificates.issue(_NAME, *HOSTS))
    return running


def present(server: TlsPostgres, files: CertificateFiles) -> None:
    server.use(files)
    server.reload()


def settings_of(directory: Path, url: Secret) -> DatabaseSettings:
    file = directory / "url"
    file.write_text(url.reveal())
    return DatabaseSettings(nats_url="nats://127.0.0.1:1", database_url_file=file)


def verified(ca_file: Path) -> dict[str, str]:
    return {"sslmode": "verify-full", "sslrootcert": str(ca_file)}


@asynccontextmanager
async def engine_of(directory: Path, url: Secret) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(settings_of(directory, url), pool_size=1)
    try:
        yield engine
    finally:
        await engine.dispose()


async def protocol(engine: AsyncEngine) -> object:
    """Return the version of TLS of a connection. Raises OperationalError."""
    async with engine.connect() as connection:
        return await connection.scalar(_ENCRYPTED)


async def test_a_service_migrates_starts_and_works_over_tls(
    server: TlsPostgres, certificates: Certificates, tmp_path: Path
) -> None:
    with psycopg.connect(postgres.driver_url(server.url()), autocommit=True) as connection:
        connection.execute("CREATE DATABASE kept")
    admin_url = server.url("kept", host="localhost", **verified(certificates.ca_file))
    (url_file,) = migrate(admin_url, tmp_path / "database", services=["tenant_directory"]).values()
    assert f"sslmode=verify-full&sslrootcert={certificates.ca_file}".replace("/", "%2F") in url_file.read_text()
    pepper = tmp_path / "pepper"
    pepper.write_text(PEPPER.reveal())
    async with provisioned_bus(tmp_path / "bus") as bus:
        servers = DirectoryServers(bus, admin_url, url_file, pepper)
        async with servers.process(), servers.operator() as operator:
            assert (await operator.create_tenant("acme")).tenant == "acme"
            with psycopg.connect(postgres.driver_url(admin_url)) as connection:
                rows = connection.execute(
                    "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'kept_tenant_directory'"
                ).fetchall()
            assert rows
            assert {row[0] for row in rows} == {True}


def expired(certificates: Certificates) -> CertificateFiles:
    began = datetime.now(UTC) - timedelta(days=3)
    return CertificateFiles(*issue(certificates.directory, _NAME, HOSTS, days=1, now=began))


async def log_of_waiting(engine: AsyncEngine, caplog: pytest.LogCaptureFixture) -> str:
    """Return the first line that a service logs while it waits for its database."""
    with caplog.at_level(logging.WARNING, logger=database.__name__):
        waiting = asyncio.create_task(open_database(engine, "tenant_directory", VERSIONS_DIR))
        try:
            await eventually("it says what is wrong", lambda: caplog.records)
        finally:
            waiting.cancel()
            await asyncio.wait({waiting})
    return caplog.records[0].getMessage()


@dataclass(frozen=True)
class Mistake:
    """What is wrong with a connection, what libpq says of it, and what the log says to do."""

    said: str
    remedy: str
    options: Callable[[TlsPostgres, Certificates, Path], dict[str, str]]


def _another_authority(server: TlsPostgres, certificates: Certificates, directory: Path) -> dict[str, str]:
    return verified(Certificates(directory / "other").ca_file)


def _another_name(server: TlsPostgres, certificates: Certificates, directory: Path) -> dict[str, str]:
    present(server, certificates.issue(_NAME, "elsewhere.example"))
    return verified(certificates.ca_file)


def _expired(server: TlsPostgres, certificates: Certificates, directory: Path) -> dict[str, str]:
    present(server, expired(certificates))
    return verified(certificates.ca_file)


def _no_file(server: TlsPostgres, certificates: Certificates, directory: Path) -> dict[str, str]:
    return verified(directory / "missing.pem")


def _plain(server: TlsPostgres, certificates: Certificates, directory: Path) -> dict[str, str]:
    return {"sslmode": "disable"}


MISTAKES = {
    "another authority": Mistake("certificate verify failed", "is not of the authority in", _another_authority),
    "another name": Mistake("does not match host name", "issue it with `--host` of that name", _another_name),
    "expired": Mistake("certificate verify failed", "or its time is over: compare the two,", _expired),
    "no file": Mistake("does not exist", "put the certificate of the server's authority there", _no_file),
    "plain text": Mistake("no encryption", "add sslmode=verify-full and sslrootcert to the URL", _plain),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
async def test_a_connection_is_refused_with_what_to_do(
    server: TlsPostgres,
    certificates: Certificates,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    mistake: Mistake,
) -> None:
    options = mistake.options(server, certificates, tmp_path)
    async with engine_of(tmp_path, server.url(host="localhost", **options)) as engine:
        with pytest.raises(OperationalError, match=mistake.said):
            await protocol(engine)
        assert mistake.remedy in await log_of_waiting(engine, caplog)


async def test_a_server_without_tls_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = Secret(f"{shared_postgres(synced=False).url().reveal()}?sslmode=require")
    async with engine_of(tmp_path, url) as engine:
        with pytest.raises(OperationalError, match="does not support SSL"):
            await protocol(engine)
        assert "set `ssl = on` with a certificate" in await log_of_waiting(engine, caplog)


async def test_a_renewed_certificate_and_a_new_authority_need_no_restart(
    server: TlsPostgres, certificates: Certificates, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(certificates.ca_file.read_bytes())
    other = Certificates(tmp_path / "other")
    async with engine_of(tmp_path, server.url(host="localhost", **verified(trusted))) as engine:

        async def reconnected() -> object:
            await engine.dispose()
            return await protocol(engine)

        assert await protocol(engine) == "TLSv1.3"
        present(server, other.issue(_NAME, *HOSTS))
        assert await protocol(engine) == "TLSv1.3", "the open connection ends"
        with pytest.raises(OperationalError, match="certificate verify failed"):
            await reconnected()
        with trusted.open("ab") as file:
            file.write(other.ca_file.read_bytes())
        assert await reconnected() == "TLSv1.3"
        present(server, certificates.issue(_NAME, *HOSTS))
        assert await reconnected() == "TLSv1.3"
