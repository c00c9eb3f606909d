"""What containers and their tests need: the health check, and the privileges for an engine."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.docker import health_check
from tests.containers.privileges import NEEDED, missing_privileges
from tests.support.servers.ports import find_free_port

ALL = 2**41 - 1


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    """Serve this answer to everything; yield the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the base class has it
            """Keep quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def check(port: str) -> "subprocess.CompletedProcess[str]":
    """Run the health check as a container does, without the packages of this environment."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(Path(health_check.__file__))],
        env={"KEYFERRY_METRICS_PORT": port},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (503, 1), (404, 1), (302, 1)])
def test_a_container_is_healthy_if_its_process_is_ready(status: int, exit_status: int) -> None:
    with answering(status, b'{"waiting_for":["nats"]}') as port:
        done = check(str(port))
    assert (done.returncode, done.stdout.strip()) == (exit_status, '{"waiting_for":["nats"]}')


@pytest.mark.parametrize("port", ["", "x", "99999999", "0"])
def test_a_port_that_cannot_be_asked_is_unhealthy(port: str) -> None:
    done = check(port)
    assert done.returncode == 1
    assert "does not answer" in done.stdout
    assert not done.stderr


def test_a_process_that_does_not_listen_is_unhealthy() -> None:
    assert check(str(find_free_port())).returncode == 1


def test_the_reason_why_no_engine_can_be_started_is_named() -> None:
    assert missing_privileges(0, ALL) == ""
    assert "needs root" in missing_privileges(1000, ALL)
    for name, number in NEEDED.items():
        assert name in missing_privileges(0, ALL & ~(1 << number))
