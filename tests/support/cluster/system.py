"""Keyferry as on several machines: three NATS servers, two PostgreSQL servers, two processes of each service, a load balancer, a
scripted provider and its clients.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.home import Home, write_json
from deploy.embedded.secret_files import grant_key, operator_token, token_pepper
from deploy.embedded.services import DEMO_CLIENT, ROOT, WORKER_SLOTS
from deploy.embedded.smoke_test import run_smoke_test
from deploy.nats.provision import provision
from deploy.postgres.migrate import migrate
from deploy.postgres.roles import write_secret
from keyferry.cli.connection import operator
from keyferry.cli.installation import Installation
from keyferry.contracts.topology import BUCKETS, STREAMS, Role, users
from tests.support.clients.stream_clients import StreamClients, stream_clients
from tests.support.cluster.load_balancer import LoadBalancer, load_balancer
from tests.support.cluster.nats_cluster import RunningCluster, nats_cluster
from tests.support.cluster.postgres_pair import PostgresPair, postgres_pair
from tests.support.cluster.processes import ServiceProcess, ended, processes_of
from tests.support.cluster.tcp_links import tcp_links
from tests.support.ledger.attempts_table import LedgerTable
from tests.support.providers.scripted_answers import by_script
from tests.support.providers.upstream import Upstream, running_upstream
from tests.support.system.command_line import run_command
from tests.support.waiting import until

MODEL = "scripted/m"
"""What clients ask for: the scripted provider."""
STREAM_NAMES = [*(stream.name for stream in STREAMS), *(bucket.stream for bucket in BUCKETS)]
_READY_SECONDS = 120.0
_REPORT_SECONDS = 0.5
_DEADLINE_SECONDS = "20"


@dataclass
class ClusterSystem:
    """The running system. `processes` are the services' by `<service>-<number>`."""

    home: Home
    nats: RunningCluster
    postgres: PostgresPair
    processes: dict[str, ServiceProcess]
    balancer: LoadBalancer
    upstream: Upstream
    clients: StreamClients

    @property
    def ledger(self) -> LedgerTable:
        """The table of attempts, at whichever server takes writes."""
        return LedgerTable(self.home.path)

    def cli(self, *arguments: str) -> str:
        """Run `keyferry` with these arguments as the operator. Fails the test if the command fails."""
        given = run_command(arguments, _environment(self.home))
        assert given.status == 0, f"keyferry {' '.join(arguments)} exits {given.status}:\n{given.output}"
        return given.out

    def wait_until_ready(self, *names: str) -> None:
        """Wait until these processes, by default all, say that they are ready."""
        wait_until_ready(self.home, self.nats, self.processes, *names)

    def wait_until_redundant(self) -> None:
        """Wait until every replica of every stream is current, so that the next server may be lost."""
        lagging: list[str] = []

        def redundant() -> bool:
            lagging[:] = self.nats.lagging(STREAM_NAMES)
            return not lagging

        try:
            until("every replica is current", redundant, _READY_SECONDS)
        except AssertionError:
            raise AssertionError(f"replicas are not current: {lagging}") from None


def reports(home: Home, nats: RunningCluster) -> dict[str, list[str]]:
    """Return what each process that answers waits for, by service and slot; nothing for one that is ready."""
    installation = Installation(nats.urls, home.seed_file(Role.OPERATOR))

    async def collect() -> dict[str, list[str]]:
        async with operator(installation) as me:
            found = await me.collect_reports(_REPORT_SECONDS)
            return {f"{report.service}-{report.slot}": report.waiting_for for report in found}

    return asyncio.run(collect())


def wait_until_ready(home: Home, nats: RunningCluster, processes: dict[str, ServiceProcess], *names: str) -> None:
    """Wait until these processes, by default all, say that they are ready. Fails the test if one of them ends."""
    wanted = {name.replace("_", "-") for name in names or processes}
    last: dict[str, list[str]] = {}

    def ready() -> bool:
        nonlocal last
        for name in names or processes:
            processes[name].check_running()
        last = reports(home, nats)
        return all(last.get(name) == [] for name in wanted)

    try:
        until("all processes are ready", ready, _READY_SECONDS)
    except AssertionError as error:
        missing = {name: last.get(name, "does not answer") for name in wanted if last.get(name) != []}
        raise AssertionError(f"{error}: {missing}") from None


def _environment(home: Home) -> dict[str, str]:
    return {**os.environ, "KEYFERRY_HOME": str(home.path)}


def _write_endpoints(home: Home, nats_url: str, http_url: str) -> None:
    endpoints = {
        "http_url": http_url,
        "operator_token_file": str(operator_token(home)),
        "nats_url": nats_url,
        "operator_nkey_file": str(home.seed_file(Role.OPERATOR)),
        "operator_grant_key_file": str(grant_key(home, Role.OPERATOR)),
        "token_pepper_file": str(token_pepper(home)),
        "token_file": str(home.demo_token_file),
        "client_nkey_file": str(home.seed_file(DEMO_CLIENT)),
        "client_credentials_file": str(home.demo_credentials_file),
    }
    write_json(home.endpoints_file, endpoints)
    write_json(home.state_file, endpoints)


@contextmanager
def running_cluster(
    directory: Path, *, counts: Mapping[str, int] | None = None, root: Path = ROOT
) -> Iterator[ClusterSystem]:
    """Run everything below `directory`, wait until it is ready, and serve `MODEL` by the scripted provider.

    There are two processes of each service, except for those in `counts`; `root` has the code that they run.
    """
    home = Home(directory / "home")
    home.prepare()
    with ExitStack() as stack:
        links = stack.enter_context(tcp_links())
        keys = {user: home.public_key(user) for user in [*users(WORKER_SLOTS), DEMO_CLIENT]}
        nats = stack.enter_context(nats_cluster(home, keys, links))
        pair = stack.enter_context(postgres_pair(directory / "postgres"))
        asyncio.run(provision(nats.urls, home.seed_file(Role.PROVISIONER), replicas=3))
        write_secret(home.database_secrets / "admin.url", pair.admin_url.reveal())
        migrate(pair.admin_url, home.database_secrets, services_root=root / "services")
        settings = {"KEYFERRY_EGRESS_ALLOW": "127.0.0.0/8", "KEYFERRY_REQUEST_DEADLINE_SECONDS": _DEADLINE_SECONDS}
        processes = processes_of(home, nats.urls, settings, counts or {}, root)
        stack.enter_context(ended(processes))
        for process in processes.values():
            process.start()
        balancer = stack.enter_context(load_balancer(_ports(processes, "ingress")))
        _write_endpoints(home, nats.urls, balancer.url)
        upstream = stack.enter_context(running_upstream(by_script))
        wait_until_ready(home, nats, processes)
        token = _prepare_tenant(home)
        clients = stack.enter_context(stream_clients(balancer.url, token))
        system = ClusterSystem(home, nats, pair, processes, balancer, upstream, clients)
        system.cli(
            "endpoints",
            "add",
            "scripted",
            "--tenant",
            "demo",
            "--base-url",
            upstream.base_url,
            "--no-probe",
            "--model",
            "m",
        )
        until("the endpoint is offered", lambda: MODEL in _models(system))
        yield system


def _ports(processes: dict[str, ServiceProcess], service: str) -> list[int]:
    ports = [process.http_port for name, process in processes.items() if name.startswith(f"{service}-")]
    return [port for port in ports if port is not None]


def _prepare_tenant(home: Home) -> str:
    """Make the demo tenant and its token. Return the token."""
    run_smoke_test(home.path)
    return home.demo_token_file.read_text().strip()


def _models(system: ClusterSystem) -> list[str]:
    listed = json.loads(system.cli("models", "--tenant", "demo", "--json"))
    return [str(model.get("id")) for model in listed.get("data", listed.get("models", []))]
