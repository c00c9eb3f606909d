"""Make the Secrets that the Helm chart expects, from a home directory in which everything is generated once.

    python -m deploy.helm.secrets --home DIR --admin-url-file FILE --workers 4 --output secrets.json
    kubectl --namespace NAMESPACE apply --filename secrets.json

FILE holds the SQLAlchemy URL of PostgreSQL's superuser, with the parameters that services need too, such as
`?sslmode=verify-full&sslrootcert=/run/postgresql-ca/ca.crt`. Keep DIR as you keep a backup: a later run, for more workers or a
new version, reads the same secrets from it. For each server named with --nats-server there is a configuration in the Secret
`PREFIX-nats`.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from deploy.embedded.errors import HomeUnusable
from deploy.embedded.home import Home
from deploy.embedded.process_files import files_of_process
from deploy.embedded.secret_files import enrolled_workers
from deploy.embedded.services import SERVICES, ServiceRow
from deploy.helm.render import describe_service
from deploy.nats.cluster import NatsCluster, TlsFiles
from deploy.nats.render import render_server_conf
from deploy.postgres import roles
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import Role, users
from keyferry.runtime.process.os_errors import describe_os_error
from keyferry.runtime.process.settings import SettingsError, read_secret

_MAX_WORKERS = 999
"""The highest slot (`ServiceSettings.slot`)."""
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,38}[a-z0-9])?", re.ASCII)
_CLIENT_PORT, _ROUTE_PORT = 4222, 6222
_CLIENT_TLS = TlsFiles(Path("/etc/nats-tls/clients/tls.crt"), Path("/etc/nats-tls/clients/tls.key"))
_ROUTE_TLS = TlsFiles(
    Path("/etc/nats-tls/routes/tls.crt"), Path("/etc/nats-tls/routes/tls.key"), Path("/etc/nats-tls/routes/ca.crt")
)
"""Where the Secrets with certificates are mounted in the servers' pods."""


class NoSecrets(Exception):
    """The Secrets cannot be made; the message says what to do."""


def make_secrets(
    home: Home, admin_url: Secret, *, workers: int, nats_servers: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    """Return the content of each Secret by its name without the prefix. Raises NoSecrets, HomeUnusable and OSError."""
    if not 1 <= workers <= _MAX_WORKERS:
        raise NoSecrets(f"--workers is {workers}: choose a number from 1 to {_MAX_WORKERS}")
    try:
        database = make_url(admin_url.reveal()).database
    except ArgumentError:
        database = None
    if not database:
        raise NoSecrets(
            "the file of --admin-url-file holds no URL like postgresql+psycopg://postgres:PASSWORD@HOST:5432/keyferry"
        )
    home.prepare()
    urls = roles.write_url_files(admin_url, home.database_secrets, roles.SERVICES_WITH_TABLES)
    secrets = {str(describe_service(row)["name"]): _files_of_service(row, home, workers) for row in SERVICES}
    secrets["provision"] = {
        "admin.url": admin_url.reveal(),
        "provisioner.seed": home.seed_file(Role.PROVISIONER).read_text(),
        **{f"{service}.url": file.read_text() for service, file in urls.items()},
    }
    if nats_servers:
        secrets["nats"] = dict(_render_servers(home, workers, nats_servers))
    return secrets


def _files_of_service(row: ServiceRow, home: Home, workers: int) -> dict[str, str]:
    described = describe_service(row)
    of_slot = set(_texts(described["slotFiles"]).values())
    out: dict[str, str] = {}
    for slot in range(1, (workers if described["replicatedBySlot"] else 1) + 1):
        for name, path in files_of_process(row, slot, home).items():
            out[f"{slot}.{name}" if name in of_slot else name] = path.read_text()
    if "enrolled-workers.json" in out:
        out["enrolled-workers.json"] = enrolled_workers(home, workers).read_text()
    return out


def _texts(value: object) -> Mapping[str, str]:
    assert isinstance(value, dict)
    return value


def _render_servers(home: Home, workers: int, servers: Sequence[str]) -> Iterator[tuple[str, str]]:
    keys = {user: home.public_key(user) for user in users(workers)}
    routes = [f"{server}:{_ROUTE_PORT}" for server in servers]
    for number, server in enumerate(servers, 1):
        cluster = NatsCluster("keyferry", "0.0.0.0", _ROUTE_PORT, routes, _ROUTE_TLS)  # noqa: S104 - mutual TLS guards it
        try:
            text = render_server_conf(
                keys,
                host="0.0.0.0",  # noqa: S104 - a pod has an address of its own
                port=_CLIENT_PORT,
                store_dir=Path("/data"),
                name=server,
                tls=_CLIENT_TLS,
                cluster=cluster,
            )
        except ValueError as error:
            raise NoSecrets(f"--nats-server: {error}") from None
        yield f"nats-{number}.conf", text


def as_manifests(secrets: Mapping[str, Mapping[str, str]], prefix: str) -> dict[str, Any]:
    """Return the Secrets as one Kubernetes List. Raises NoSecrets for a prefix that no object can have."""
    if not _NAME.fullmatch(prefix):
        raise NoSecrets(
            f"--prefix {prefix[:60]!r} cannot begin a name: use up to 40 lower-case letters, digits and hyphens"
        )
    items = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{prefix}-{name}", "labels": {"app.kubernetes.io/part-of": "keyferry"}},
            "type": "Opaque",
            "stringData": dict(content),
        }
        for name, content in sorted(secrets.items())
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.helm.secrets", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--home", type=Path, required=True, help="the directory in which secrets are generated and kept"
    )
    parser.add_argument("--admin-url-file", type=Path, required=True, help="a superuser's SQLAlchemy URL")
    parser.add_argument("--workers", type=int, default=4, help="how many provider workers there may be (default: 4)")
    parser.add_argument("--prefix", default="keyferry", help="the chart's secretPrefix (default: keyferry)")
    parser.add_argument("--nats-server", action="append", default=[], metavar="NAME", help="a NATS server's host name")
    parser.add_argument("--output", type=Path, required=True, help="the file for the manifests; only you can read it")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return 0, or 1 after printing why it failed."""
    given = _make_parser().parse_args(arguments)
    try:
        admin_url = read_secret(given.admin_url_file)
        secrets = make_secrets(Home(given.home), admin_url, workers=given.workers, nats_servers=given.nats_server)
        roles.write_secret(given.output, json.dumps(as_manifests(secrets, given.prefix), indent=2) + "\n")
    except (NoSecrets, SettingsError, HomeUnusable) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(describe_os_error(error), file=sys.stderr)
        return 1
    print(f"{len(secrets)} Secrets are in {given.output}: kubectl apply --filename {given.output}, then remove it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
