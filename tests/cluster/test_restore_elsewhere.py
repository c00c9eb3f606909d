"""A backup of one server is restored into a cluster with TLS and a PostgreSQL with TLS, and one of these into one server."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import orjson
import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from deploy.backup.__main__ import main
from deploy.backup.streams import OF_REQUESTS, of_events
from deploy.embedded import postgres
from deploy.embedded.home import Home
from deploy.nats.provision import provision
from deploy.nats.render import render_server_conf
from deploy.postgres.migrate import migrate
from deploy.postgres.roles import write_secret
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import Role, inbox_prefix, users
from tests.integration.tenant_directory.processes import PEPPER, DirectoryServers
from tests.support.certificates import HOSTS, Certificates
from tests.support.cluster.nats_cluster import RunningCluster, nats_cluster
from tests.support.cluster.tcp_links import tcp_links
from tests.support.servers.nats import nats_server
from tests.support.servers.postgres import shared_postgres
from tests.support.servers.postgres_tls import TlsPostgres, postgres_with_tls
from tests.support.servers.provisioned_bus import provisioned_bus
from tests.support.waiting import eventually

STREAMS = (*OF_REQUESTS, *of_events())
TENANTS = ["acme", "platform"]
KEPT = ("messages", "last_seq", "consumer_count")
"""What has to be the same of a stream afterwards."""


@dataclass(frozen=True)
class Backup:
    """A backup file with its key, and what was in the installation."""

    file: Path
    key: Path
    seeds: Path
    database: str
    streams: dict[str, dict[str, Any]]


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def tenants(url: Secret) -> list[str]:
    with psycopg.connect(postgres.driver_url(url)) as connection:
        return [row[0] for row in connection.execute("SELECT tenant FROM tenant_directory.tenants ORDER BY tenant")]


async def states(url: str, seed: str) -> dict[str, dict[str, Any]]:
    """Return what each stream of a server has."""
    client = await nats.connect(url, nkeys_seed_str=seed, inbox_prefix=inbox_prefix(Role.PROVISIONER).encode())
    try:
        answers = {name: await client.request(f"$JS.API.STREAM.INFO.{name}", b"", timeout=10) for name in STREAMS}
    finally:
        await client.close()
    return {name: kept(orjson.loads(answer.data)) for name, answer in answers.items()}


def kept(info: dict[str, Any]) -> dict[str, Any]:
    return {name: info["state"][name] for name in KEPT}


def recipient_of(key: Path) -> str:
    return key.read_text().partition("# public key: ")[2].split()[0]


async def backed_up(directory: Path) -> Backup:
    """Have a directory with a tenant on one server of each kind, and back it up."""
    secrets = directory / "secrets"
    seeds = secrets / "nkeys"
    seeds.mkdir(parents=True)
    admin_url = shared_postgres(synced=False).new_database()
    url_files = migrate(admin_url, secrets / "database")
    write_secret(secrets / "database" / "admin.url", admin_url.reveal())
    pepper = secrets / "token-pepper"
    pepper.write_text(PEPPER.reveal())
    spool = directory / "spool" / "worker-1"
    spool.mkdir(parents=True)
    (spool / "0001.log").write_bytes(b"an attempt")
    key, file = directory / "backup.key", directory / "one.backup"
    assert run("make-key", key) == 0
    recipient = recipient_of(key)
    async with provisioned_bus(seeds) as bus:
        servers = DirectoryServers(bus, admin_url, url_files["tenant_directory"], pepper)
        async with servers.process(), servers.operator() as operator, servers.ingress() as ingress:
            await operator.create_tenant("acme")
            await eventually("the tenant is in the view", lambda: ingress.tenants.get("acme"))
        seed_file = bus.seed_file(Role.PROVISIONER)
        state = await states(bus.nats_url, await asyncio.to_thread(seed_file.read_text))
        url_file = directory / "admin.url"
        url_file.write_text(admin_url.reveal())
        created = await asyncio.to_thread(
            run,
            *("create", file, "--recipient", recipient, "--admin-url-file", url_file, "--nats-url", bus.nats_url),
            *("--seed-file", seed_file, "--secrets", secrets, "--spool", directory / "spool"),
        )
        assert created == 0
    return Backup(file, key, seeds, str(make_url(admin_url.reveal()).database), state)


@dataclass(frozen=True)
class Elsewhere:
    """A cluster and a PostgreSQL that are not `make up`'s, both with TLS; `directory` is for homes and files."""

    directory: Path
    backup: Backup
    cluster: RunningCluster
    database: TlsPostgres
    admin_url: Secret
    url_file: Path

    @property
    def seed_file(self) -> Path:
        return self.backup.seeds / f"{Role.PROVISIONER.value}.seed"

    def restore(self, file: Path, home: str, nats_url: str, *options: str) -> int:
        """Run the command with this home; return its status."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("KEYFERRY_HOME", str(self.directory / home))
            target = ("--admin-url-file", self.url_file, "--nats-url", nats_url)
            return run("restore", file, "--key", self.backup.key, *target, *options)

    def empty_database(self) -> None:
        """Drop the database, and create it again."""
        with psycopg.connect(postgres.driver_url(self.database.url()), autocommit=True) as connection:
            for statement in ("DROP DATABASE IF EXISTS {}", "CREATE DATABASE {}"):
                connection.execute(sql.SQL(statement).format(sql.Identifier(self.backup.database)))


@contextmanager
def servers_elsewhere(directory: Path, backup: Backup) -> Iterator[Elsewhere]:
    """Run the servers, which know the NATS users of the backup and have nothing else of it."""
    certificates = Certificates(directory / "authority")
    servers = Home(directory / "servers")
    servers.prepare()
    shutil.copytree(backup.seeds, servers.secrets / "nkeys")
    keys = {user: servers.public_key(user) for user in users(2)}
    url_file = directory / "elsewhere.url"
    with (
        tcp_links() as links,
        nats_cluster(servers, keys, links, client_tls=True) as cluster,
        postgres_with_tls(certificates.issue("postgres", *HOSTS)) as database,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("KEYFERRY_NATS_CA_FILE", str(cluster.certificates.ca_file))
        tls = {"sslmode": "verify-full", "sslrootcert": str(certificates.ca_file)}
        admin_url = database.url(backup.database, host="localhost", **tls)
        url_file.write_text(admin_url.reveal())
        elsewhere = Elsewhere(directory, backup, cluster, database, admin_url, url_file)
        elsewhere.empty_database()
        yield elsewhere


@pytest.mark.timeout(400)
def test_a_backup_goes_from_one_server_into_a_cluster_with_tls_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = asyncio.run(backed_up(tmp_path / "source"))
    with servers_elsewhere(tmp_path, backup) as elsewhere:
        urls = elsewhere.cluster.urls
        assert elsewhere.restore(backup.file, "restored", urls, "--replicas", "3") == 0, capsys.readouterr().err
        check_cluster(elsewhere)
        second = back_up_again(elsewhere)
        assert elsewhere.restore(backup.file, "again", urls) == 1
        assert "the database has tables of billing, " in capsys.readouterr().err
        elsewhere.empty_database()
        assert elsewhere.restore(backup.file, "again", urls) == 1
        assert "NATS has ATTEMPTS, " in capsys.readouterr().err
        home = Home(tmp_path / "again")
        assert not home.unfinished_restore.exists()
        assert not [path for path in home.secrets.rglob("*") if path.is_file()]
        go_back_to_one_server(elsewhere, second)


def check_cluster(elsewhere: Elsewhere) -> None:
    """Check that everything is there, on three servers, and that what follows a restore changes nothing."""
    home = Home(elsewhere.directory / "restored")
    asyncio.run(provision(elsewhere.cluster.urls, elsewhere.seed_file, replicas=3))
    migrate(elsewhere.admin_url, home.database_secrets)
    found = {name: elsewhere.cluster.ask(f"STREAM.INFO.{name}") for name in STREAMS}
    assert {name: kept(info) for name, info in found.items()} == elsewhere.backup.streams
    assert {info["config"]["num_replicas"] for info in found.values()} == {3}
    assert tenants(elsewhere.admin_url) == TENANTS
    assert tenants(Secret((home.database_secrets / "tenant_directory.url").read_text())) == TENANTS
    assert (home.database_secrets / "admin.url").read_text() == elsewhere.admin_url.reveal()
    assert (home.path / "spool" / "worker-1" / "0001.log").read_bytes() == b"an attempt"


def back_up_again(elsewhere: Elsewhere) -> Path:
    """Back up the servers with TLS. Return the file."""
    file = elsewhere.directory / "two.backup"
    recipient = recipient_of(elsewhere.backup.key)
    secrets = elsewhere.directory / "restored" / "secrets"
    source = ("--admin-url-file", elsewhere.url_file, "--nats-url", elsewhere.cluster.urls, "--secrets", secrets)
    assert run("create", file, "--recipient", recipient, *source, "--seed-file", elsewhere.seed_file) == 0
    return file


def go_back_to_one_server(elsewhere: Elsewhere, file: Path) -> None:
    """Restore a backup of three servers into one."""
    keys = {user: elsewhere.cluster.seeds.public_key(user) for user in users(2)}
    conf = render_server_conf(keys, port=-1, store_dir=elsewhere.directory / "one-server")
    with nats_server(conf, whole=True) as server, pytest.MonkeyPatch.context() as environment:
        environment.delenv("KEYFERRY_NATS_CA_FILE")
        assert elsewhere.restore(file, "back", server.url) == 0
        asyncio.run(provision(server.url, elsewhere.seed_file))
        assert asyncio.run(states(server.url, elsewhere.seed_file.read_text())) == elsewhere.backup.streams
    assert tenants(elsewhere.admin_url) == TENANTS
