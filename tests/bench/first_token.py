"""Time to the first token of a stream, which wrk cannot see: one client, one connection, one stream after another."""

import http.client
import time
from urllib.parse import urlsplit

from tests.bench import payload
from tests.bench.load import Load
from tests.bench.system import Target

_TIMEOUT_SECONDS = 10


def run(target: Target, seconds: int) -> Load:
    """Read streams for `seconds`; latencies are from sending the request to having read the first delta's text.

    The client is Python and costs some 0.1 ms a request, the same against every target: compare differences.
    """
    url = urlsplit(target.base_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=_TIMEOUT_SECONDS)
    latencies_us: list[int] = []
    sent = 0
    cpu_start_ns, start_ns = time.process_time_ns(), time.monotonic_ns()
    try:
        while time.monotonic_ns() - start_ns < seconds * 1_000_000_000:
            sent += 1
            latency_us = _one(connection, target)
            if latency_us is None:
                connection.close()
            else:
                latencies_us.append(latency_us)
    finally:
        connection.close()
    elapsed_seconds = (time.monotonic_ns() - start_ns) / 1e9
    client_cpu_us = (time.process_time_ns() - cpu_start_ns) // 1000
    p50_us, p90_us, p99_us = (percentile(latencies_us, rank) for rank in (50, 90, 99))
    ok = len(latencies_us)
    return Load(sent, ok, sent - ok, elapsed_seconds, p50_us, p90_us, p99_us, client_cpu_us)


def percentile(values: list[int], rank: int) -> int:
    """Return the smallest value that at least `rank` percent of all values do not exceed (nearest rank); 0 without values."""
    ordered = sorted(values)
    return ordered[max(-(-len(ordered) * rank // 100), 1) - 1] if ordered else 0


def _one(connection: http.client.HTTPConnection, target: Target) -> int | None:
    headers = {"Content-Type": "application/json"}
    if target.token is not None:
        headers["Authorization"] = f"Bearer {target.token}"
    body = payload.request_body(target.model, stream=True)
    start_ns = time.monotonic_ns()
    latency_us = None
    seen = b""
    try:
        connection.request("POST", f"{urlsplit(target.base_url).path}/chat/completions", body, headers)
        with connection.getresponse() as answer:
            while part := answer.read1():
                seen += part
                if latency_us is None and payload.FIRST_DELTA_TEXT.encode() in seen:
                    latency_us = (time.monotonic_ns() - start_ns) // 1000
    except (OSError, http.client.HTTPException):
        return None
    return latency_us if answer.status == 200 and seen.endswith(payload.DONE) else None
