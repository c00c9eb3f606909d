"""NATS whose disk was full: what it reports, and the restart after which it stores messages again.

A limit on the size of the server's files, which can be lifted while it runs, stands for the disk: the server treats both as a
failed write, and goes on refusing messages afterwards.
"""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from deploy.embedded import nats as embedded_nats
from deploy.embedded.managed_process import ProcessConfig, ProcessTimeouts, RestartOrder
from deploy.embedded.nats_recovery import NatsRecovery, fetch_health
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.supervisor import Supervisor
from deploy.nats.provision import provision
from deploy.nats.render import render_server_conf
from keyferry.cli.bus_checks import check_server
from keyferry.contracts.server_health import ServerHealth
from keyferry.contracts.topology import Role
from keyferry.runtime.concurrency import cancel_and_wait
from tests.support.servers.ports import find_free_port
from tests.support.servers.provisioned_bus import make_users

pytestmark = pytest.mark.timeout(60)

_SMALL = 100_000
_AN_EVENT = "$KV.tenants.acme"


@dataclass
class _Running:
    supervisor: Supervisor
    url: str
    home: Path
    log_lines: list[str]
    restarts: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.supervisor.status()[0]["pid"]

    async def health(self) -> list[ServerHealth]:
        return await fetch_health(self.url, self.home / "operator.seed")

    async def restart(self) -> None:
        self.restarts.append("nats")
        await self.supervisor.restart("nats", self.log_lines.append)

    def recovery(self, *, min_free_bytes: int) -> NatsRecovery:
        return NatsRecovery(
            store=self.home,
            fetch_health=self.health,
            restart=self.restart,
            log=self.log_lines.append,
            min_free_bytes=min_free_bytes,
            interval_seconds=0.05,
        )

    async def connect(self) -> Client:
        return await nats.connect(self.url, nkeys_seed_str=(self.home / "provisioner.seed").read_text())

    async def stores(self, size: int) -> bool:
        """Return whether a stream confirms a message of this size."""
        client = await self.connect()
        try:
            await client.jetstream(timeout=1).publish(_AN_EVENT, os.urandom(size))
        except NatsError:
            return False
        finally:
            await client.close()
        return True


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[_Running]:
    port, configuration = find_free_port(), tmp_path / "nats.conf"
    configuration.write_text(render_server_conf(make_users(tmp_path), port=port, store_dir=tmp_path / "jetstream"))
    binary, log_lines = embedded_nats.find_nats_server(), list[str]()
    timeouts = ProcessTimeouts(ready_seconds=20, drain_seconds=10)
    async with Supervisor(log_dir=tmp_path / "log", run_dir=tmp_path, timeouts=timeouts, log=log_lines.append) as made:
        config = ProcessConfig(
            service="nats",
            make_spec=lambda: embedded_nats.make_server_spec(binary, configuration),
            probe=lambda: asyncio.to_thread(embedded_nats.accepts_clients, port),
            restart_order=RestartOrder.STOP_FIRST,
        )
        await made.start([config])
        url = f"nats://{LOOPBACK}:{port}"
        await provision(url, tmp_path / f"{Role.PROVISIONER}.seed")
        yield _Running(made, url, tmp_path, log_lines)


async def _eventually(what: str, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.02)


def _limit_files(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def test_a_server_that_could_not_write_is_named_and_restarted_once_there_is_space(running: _Running) -> None:
    (well,) = await running.health()
    assert check_server(well).ok

    _limit_files(running.pid, _SMALL)
    assert not await running.stores(2 * _SMALL)
    (failed,) = await running.health()
    finding = check_server(failed)
    assert failed.needs_restart
    assert not finding.ok
    assert "file too large" in finding.detail
    assert "Free up disk space" in finding.remedy

    _limit_files(running.pid, resource.RLIM_INFINITY)
    assert not await running.stores(10), "it stores again by itself: the restart is not needed any more"

    watching = asyncio.create_task(running.recovery(min_free_bytes=2**62).run())
    await _eventually(
        "the failure is reported", lambda: any("stores no messages" in line for line in running.log_lines)
    )
    await cancel_and_wait(watching)
    assert running.restarts == [], "restarted although the disk is full"

    watching = asyncio.create_task(running.recovery(min_free_bytes=1).run())
    await _eventually("a restart", lambda: any("is ready" in line for line in running.log_lines))
    await cancel_and_wait(watching)
    assert running.restarts == ["nats"]
    assert await running.stores(2 * _SMALL)
    (well,) = await running.health()
    assert check_server(well).ok


async def test_restarts_that_do_not_help_become_rare(tmp_path: Path) -> None:
    """A disk that is broken and not full: each restart would interrupt requests in progress."""
    asked, restarts, log_lines = 0, list[str](), list[str]()

    async def fetch() -> list[ServerHealth]:
        nonlocal asked
        asked += 1
        return [ServerHealth("keyferry", "JetStream stream 'KEYFERRY > ATTEMPTS' write error: input/output error")]

    async def restart() -> None:
        restarts.append("nats")

    recovery = NatsRecovery(
        store=tmp_path,
        fetch_health=fetch,
        restart=restart,
        log=log_lines.append,
        min_free_bytes=1,
        interval_seconds=0.001,
    )
    watching = asyncio.create_task(recovery.run())
    await _eventually("many reports", lambda: asked > 50)
    await cancel_and_wait(watching)
    assert restarts == ["nats"]
    assert len([line for line in log_lines if "stores no messages" in line]) == 1
