"""Timing first tokens over real HTTP, and holding the account against the answers."""

import contextlib
import http.server
import os
import threading
from collections.abc import Iterator

import pytest

from tests.bench import first_token, payload
from tests.bench.case import Case, Kind
from tests.bench.measure import Bench
from tests.bench.system import Target

_CASE = Case(Kind.FIRST_TOKEN, 1)


class _StreamServer(http.server.ThreadingHTTPServer):
    """Answers streams on one kept-alive connection; `faulty_every` makes each such one an answer that lacks its end."""

    daemon_threads = True

    def __init__(self, faulty_every: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faulty_every = faulty_every
        self.answered_right = 0
        self.answered = 0
        self.connections = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _StreamServer

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.answered += 1
        body = payload.stream_answer()
        if self.server.faulty_every and self.server.answered % self.server.faulty_every == 0:
            body = body.removesuffix(payload.DONE)
        else:
            self.server.answered_right += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


@contextlib.contextmanager
def _server(faulty_every: int = 0) -> Iterator[_StreamServer]:
    with _StreamServer(faulty_every) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _target(server: _StreamServer) -> Target:
    return Target(f"http://127.0.0.1:{server.server_address[1]}/v1", "m")


class _CountingSystem:
    """A system of this process whose account is off by `surplus` records."""

    name = "counting"

    def __init__(self, server: _StreamServer, surplus: int) -> None:
        self._server = server
        self._surplus = surplus

    def target(self, kind: Kind) -> Target:
        assert kind.streams
        return _target(self._server)

    def processes(self) -> dict[str, int]:
        return {"self": os.getpid()}

    def accounted(self) -> int:
        return self._server.answered_right + (self._surplus if self._server.answered else 0)


def test_every_stream_of_a_right_server_is_timed_over_one_connection() -> None:
    with _server() as server:
        seen = first_token.run(_target(server), seconds=1)
        assert (seen.ok, seen.errors) == (server.answered_right, 0)
        assert seen.ok > 1
        assert server.connections == 1
    assert 0 < seen.p50_us <= seen.p90_us <= seen.p99_us


def test_streams_without_their_end_are_errors() -> None:
    with _server(faulty_every=3) as server:
        seen = first_token.run(_target(server), seconds=1)
        assert seen.ok == server.answered_right
        assert seen.errors == server.answered - server.answered_right > 0
        assert seen.sent == server.answered


@pytest.mark.parametrize("surplus", [0, 2])
def test_an_account_that_differs_from_the_answers_is_a_problem(surplus: int) -> None:
    with _server() as server:
        bench = Bench("wrk", [_CountingSystem(server, surplus)], seconds=1)
        bench.round(_CASE, 1)
        bench.round(_CASE, 2)
        answers = bench.measurements[0].load.ok
    expected = [f"counting first-token-1: +2 accounted requests, against {answers} answers"] if surplus else []
    assert bench.problems == expected
    assert [one.round for one in bench.measurements] == [1, 2]
    assert bench.measurements[0].memory_bytes["self"] > 0
    assert bench.measurements[0].cpu_us_per_request["self"] > 0
