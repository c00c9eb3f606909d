"""Errors that prevent the start of a ledger, with their remedies; and the trace that ends in it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from keyferry.runtime.process.lifecycle import EXIT_CANNOT_START
from tests.integration.usage_ledger.processes import LedgerServers, Process, reports
from tests.support.ledger.attempt_records import attempt_record
from tests.support.waiting import eventually

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"


async def refused(process: Process) -> str:
    """Return the log of a process that cannot start."""
    assert await process.exited() == EXIT_CANNOT_START
    return process.log()


async def test_an_invalid_price_file_is_reported(servers: LedgerServers) -> None:
    prices = servers.directory / "prices.toml"
    prices.write_text('version = "v"\neffective = 2026-01-01\n[[price]]\nprovider = "p"\nmodel = "m"\ninput = -1\n')
    async with servers.process(KEYFERRY_PRICE_FILE=str(prices)) as process:
        log = await refused(process)
    assert "prices.toml cannot be used: price.0.input: a price per million tokens lies between" in log
    assert "Traceback" not in log


async def test_a_database_that_may_lose_commits_is_rejected(servers: LedgerServers) -> None:
    role = f"{servers.database()}_usage_ledger"
    servers.query(f"ALTER ROLE {role} SET synchronous_commit = off")
    async with servers.process() as process:
        assert "synchronous_commit is 'off'" in await refused(process)
    servers.query(f"ALTER ROLE {role} SET synchronous_commit = on")
    async with servers.process(), servers.operator() as operator:
        assert await reports(operator, 1)


async def test_tables_of_another_build(servers: LedgerServers) -> None:
    servers.query("UPDATE usage_ledger.schema_version SET version_num = '9999'")
    async with servers.process() as process:
        assert "newer than this build" in await refused(process)


async def test_it_waits_for_postgresql(servers: LedgerServers) -> None:
    servers.query(f"ALTER DATABASE {servers.database()} RENAME TO elsewhere_{servers.database()}", "postgres")
    async with servers.process() as process, servers.operator() as operator:
        await eventually("it logs what it waits for", lambda: "PostgreSQL is unavailable" in process.log())
        assert "`make up` does" in process.log()
        assert process.child.returncode is None
        servers.query(f"ALTER DATABASE elsewhere_{servers.database()} RENAME TO {servers.database()}", "postgres")
        assert await reports(operator, 1)


async def test_a_trace_ends_at_the_row(servers: LedgerServers) -> None:
    traced = attempt_record(traceparent=f"00-{TRACE_ID}-{PARENT_ID}-01")
    with collector() as (endpoint, spans):
        async with servers.process(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as process:
            async with servers.worker() as worker:
                await worker.publish([traced.encode(), traced.encode()])
                await worker.until_confirmed([traced])
            process.terminate()
            assert await process.exited() == 0
    (span,) = [span for span in spans if span.name == "usage_ledger.record"]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert traced.attempt_id in [item.value.string_value for item in span.attributes]
    assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
    assert [row["trace_id"] for row in servers.attempts()] == [TRACE_ID]


@contextmanager
def collector() -> Iterator[tuple[str, list[Span]]]:
    """Serve an OTLP endpoint on loopback and collect its spans."""
    spans: list[Span] = []

    class Collect(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Collect)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
