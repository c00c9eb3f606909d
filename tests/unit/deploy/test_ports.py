"""Choosing ports."""

import socket
from pathlib import Path

import pytest

from deploy.embedded.ports import LOOPBACK, PortTaken, free_port, is_free, require_free, steady_port


def test_a_port_stays_the_same_while_it_is_free(tmp_path: Path) -> None:
    memory = tmp_path / "run" / "nats.port"
    first = steady_port(memory)
    assert steady_port(memory) == first
    with socket.create_server((LOOPBACK, first)):
        second = steady_port(memory)
        assert second != first
    assert steady_port(memory) == second


@pytest.mark.parametrize("garbage", ["", "port", "0", "-1", "70000"])
def test_a_spoilt_memory_is_replaced(tmp_path: Path, garbage: str) -> None:
    memory = tmp_path / "port"
    memory.write_text(garbage)
    port = steady_port(memory)
    assert is_free(port)
    assert memory.read_text() == f"{port}\n"


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} .*(\n.*)*KEYFERRY_HTTP_PORT=\d+ make up"):
            require_free(port, "KEYFERRY_HTTP_PORT")
    require_free(free_port(), "KEYFERRY_HTTP_PORT")


def test_a_port_just_left_counts_as_free() -> None:
    """Connections in TIME_WAIT keep nobody from listening."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)), server.accept()[0] as accepted:
            accepted.close()
    assert is_free(port)


def test_a_free_port_is_none_that_an_outgoing_connection_could_take() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert {free_port() < first for _ in range(50)} == {True}
