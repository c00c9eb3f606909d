"""Port selection."""

import json
import socket
from pathlib import Path

import pytest

from deploy.embedded import operations_ports
from deploy.embedded.errors import SettingsInvalid
from deploy.embedded.home import Home
from deploy.embedded.ports import (
    LOOPBACK,
    PortInUse,
    find_free_port,
    is_free,
    require_free,
    reuse_or_find_port,
    server_ports,
)
from deploy.embedded.services import Addresses
from tests.support.servers.ports import own_ports


def test_the_stored_port_is_reused_while_it_is_free(tmp_path: Path) -> None:
    port_file = tmp_path / "run" / "nats.port"
    first = reuse_or_find_port(port_file)
    assert reuse_or_find_port(port_file) == first
    with socket.create_server((LOOPBACK, first)):
        second = reuse_or_find_port(port_file)
        assert second != first
    assert reuse_or_find_port(port_file) == second


def test_a_port_that_another_server_gets_is_neither_reused_nor_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port_file, free = tmp_path / "nats.port", find_free_port()
    port_file.write_text(f"{free}\n")
    assert reuse_or_find_port(port_file, {free}) != free
    monkeypatch.setattr("deploy.embedded.ports.server_ports", lambda: range(free, free + 1))
    assert find_free_port() == free
    assert find_free_port({free}) != free


@pytest.mark.parametrize("content", ["", "port", "0", "-1", "70000"])
def test_an_invalid_port_file_is_replaced(tmp_path: Path, content: str) -> None:
    port_file = tmp_path / "port"
    port_file.write_text(content)
    port = reuse_or_find_port(port_file)
    assert is_free(port)
    assert port_file.read_text() == f"{port}\n"


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"port {port} .*(\n.*)*KEYFERRY_HTTP_PORT=\d+ make up"):
            require_free(port, "KEYFERRY_HTTP_PORT")
    require_free(find_free_port(), "KEYFERRY_HTTP_PORT")


def test_a_port_with_connections_in_time_wait_is_free() -> None:
    """A server may listen while old connections are in TIME_WAIT."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)), server.accept()[0] as accepted:
            accepted.close()
    assert is_free(port)


def test_a_free_port_is_outside_the_ephemeral_range() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert {find_free_port() < first for _ in range(50)} == {True}


def test_workers_of_a_test_run_choose_from_different_ports() -> None:
    environments = [{"PYTEST_XDIST_WORKER": f"gw{number}", "PYTEST_XDIST_WORKER_COUNT": "3"} for number in range(3)]
    ports = [port for environment in environments for port in own_ports(environment)]
    assert sorted(ports) == list(own_ports({})) == list(server_ports())
    replacement = {"PYTEST_XDIST_WORKER": "gw4", "PYTEST_XDIST_WORKER_COUNT": "3"}
    assert own_ports(replacement) == own_ports(environments[1])


def test_each_process_gets_an_operations_port_of_its_own_unless_the_operator_wants_none(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.run.mkdir(parents=True)
    chosen = operations_ports.choose(home, {}, {})
    assert len(set(chosen.values())) == len(chosen) == len(list(operations_ports.list_processes()))
    none = operations_ports.choose(home, {}, {operations_ports.VARIABLE: "0"})
    addresses = Addresses(nats_url="nats://127.0.0.1:1", http_host=LOOPBACK, http_port=1, metrics_ports=none)
    operations_ports.write_targets(home, addresses)
    assert json.loads(operations_ports.targets_file(home).read_text()) == []
    with pytest.raises(SettingsInvalid, match="leave it out, or set 0"):
        operations_ports.choose(home, {}, {operations_ports.VARIABLE: "9464"})
