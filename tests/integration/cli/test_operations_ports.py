"""The doctor's checks of operations ports, against real ones."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keyferry.cli.operations_ports import SUBJECT, check_operations_ports
from keyferry.cli.problem import Finding
from keyferry.runtime.metrics.gauges import ProcessGauges
from keyferry.runtime.metrics.operations_port import OperationsPort
from keyferry.runtime.metrics.registry import EveryMetric
from tests.support.servers.http_service import http_service
from tests.support.servers.ports import find_free_port
from tests.support.waiting import eventually


def _list(folder: Path, **ports: int) -> Path:
    """Write the list as the launcher does, with a process of each of these services."""
    file = folder / "prometheus-targets.json"
    names = {name: name.replace("_", "-") for name in ports}
    file.write_text(
        json.dumps(
            [
                {
                    "targets": [f"127.0.0.1:{port}"],
                    "labels": {"service": names[name], "slot": "1", "instance": f"{names[name]}-1"},
                }
                for name, port in ports.items()
            ]
        )
    )
    return file


async def _check(file: Path) -> list[Finding]:
    return await asyncio.to_thread(lambda: list(check_operations_ports(file)))


@asynccontextmanager
async def _process(port: int, waiting: tuple[str, ...] = (), *, draining: bool = False) -> AsyncIterator[None]:
    gauges = ProcessGauges()
    gauges.gauge("keyferry_build_info", "Text.", lambda: {("1",): 1}, ("version",))
    operations = OperationsPort(
        "127.0.0.1",
        port,
        metrics=EveryMetric(gauges),
        waiting_for=lambda: list(waiting),
        draining=lambda: draining,
    )
    await operations.start()
    try:
        await eventually("the operations port is open", lambda: operations.served)
        yield
    finally:
        await operations.stop()


async def test_processes_that_answer_are_one_finding(tmp_path: Path) -> None:
    router, vault = find_free_port(), find_free_port()
    async with _process(router), _process(vault):
        found = await _check(_list(tmp_path, router=router, key_vault=vault))
    assert found == [Finding(SUBJECT, "2 processes answer /readyz and /metrics")]


async def test_a_process_that_waits_is_named_with_what_it_waits_for(tmp_path: Path) -> None:
    router, vault = find_free_port(), find_free_port()
    async with _process(router), _process(vault, ("the bus (NATS)", "the database")):
        (found,) = await _check(_list(tmp_path, router=router, key_vault=vault))
    assert found.subject == "operations port of key-vault-1"
    assert found.detail.endswith("/readyz says that it is not ready: waiting for the bus (NATS), the database")
    assert "`keyferry restart key-vault`" in found.remedy


async def test_a_port_that_nobody_has_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyferry.cli.operations_ports._TAKEOVER_SECONDS", 0.0)
    router, gone = find_free_port(), find_free_port()
    async with _process(router):
        (found,) = await _check(_list(tmp_path, router=router, key_vault=gone))
    assert (found.subject, found.ok) == ("operations port of key-vault-1", False)
    assert found.detail == f"127.0.0.1:{gone} does not answer (ConnectError)"
    assert "`keyferry restart key-vault`" in found.remedy


async def test_a_process_that_opens_its_port_meanwhile_is_waited_for(tmp_path: Path) -> None:
    router = find_free_port()
    check = asyncio.create_task(_check(_list(tmp_path, router=router)))
    async with _process(router):
        assert await check == [Finding(SUBJECT, "1 processes answer /readyz and /metrics")]


async def test_another_program_on_the_port_is_distinguished_from_the_process(tmp_path: Path) -> None:
    async with http_service() as service:
        (found,) = await _check(_list(tmp_path, router=service.port))
    assert found.detail == f"127.0.0.1:{service.port}/metrics has no figures of Keyferry (status 200)"
    assert "Another program" in found.remedy


async def test_a_process_that_is_replaced_is_no_problem(tmp_path: Path) -> None:
    router = find_free_port()
    async with _process(router, draining=True):
        found = await _check(_list(tmp_path, router=router))
    assert [finding.ok for finding in found] == [True, True]
    assert found[0].subject == "operations port of router-1"


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (None, "is missing, so that Prometheus finds no process"),
        ("[", "is no list of targets"),
        ('[{"targets": []}]', "is no list of targets"),
    ],
)
def test_a_list_that_is_of_no_use_is_reported(content: str | None, detail: str, tmp_path: Path) -> None:
    file = tmp_path / "prometheus-targets.json"
    if content is not None:
        file.write_text(content)
    (found,) = check_operations_ports(file)
    assert found.detail == f"{file} {detail}"
    assert "make up" in found.remedy


def test_a_system_without_operations_ports_is_no_problem(tmp_path: Path) -> None:
    (found,) = check_operations_ports(_list(tmp_path))
    assert found.ok
    assert "KEYFERRY_METRICS_PORT=0" in found.detail
