"""What traces and metrics cost: requests a second of three whole systems, in turn; and when a trace can be read.

One system counts and records nothing, one counts, and one records spans as every installation does by default: it keeps the
traces of failures, of slow requests and of one request in a hundred.
"""

import contextlib
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx

from tests.bench import load, loopback
from tests.bench.case import Case, Kind
from tests.bench.children import started
from tests.bench.failure import BenchError
from tests.bench.figure import Figure
from tests.bench.keys.timing import Timing, timing
from tests.bench.overload.upstream_process import SHARED_MODEL
from tests.bench.system import Target
from tests.bench.unlimited_tiers import write_unlimited_tiers
from tests.support.servers.stored_spans import stored_spans
from tests.support.system.keyferry_system import KeyferrySystem, running_system

TRACING = "requests at 64 clients with sampled traces, against without"
METRICS = "requests at 64 clients with metrics, against without"
TRACE_STORED = "from a request's answer to its whole trace, stored"
_CLIENTS = 64
_NEITHER, _COUNTED, _TRACED = "neither", "counted", "traced"
_SETTINGS = {
    _NEITHER: {"KEYFERRY_METRICS_PORT": "0", "KEYFERRY_TRACE_BUFFER_SPANS": "0"},
    _COUNTED: {"KEYFERRY_TRACE_BUFFER_SPANS": "0"},
    _TRACED: {"KEYFERRY_METRICS_PORT": "0"},
}
_ENDPOINT = "bench"
_WARM_UP_SECONDS = 2
_TRACES = 100
_SPANS = {
    "POST /v1/chat/completions",
    "request.send",
    "router.decide",
    "provider_worker.attempt",
    "usage_ledger.record",
}
"""Those of Keyferry's own that each request has, beside the call of the model."""
_WAIT_SECONDS = 30.0


def measure(wrk: str, directory: Path, seconds: int, rounds: int) -> list[Figure]:
    """Return requests a second with each, as a multiple of those with neither: the median of twice `rounds`, in turning order.

    Raises:
        BenchError: a request failed.
    """
    ratios: dict[str, list[float]] = {name: [] for name in _SETTINGS}
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(_upstream(directory))
        targets = {name: stack.enter_context(_system(directory / name, name, upstream)) for name in _SETTINGS}
        case = Case(Kind.PLAIN, _CLIENTS)
        for system in targets.values():
            load.run(wrk, _target(system), case, _WARM_UP_SECONDS)
        names = list(_SETTINGS)
        for number in range(2 * rounds):
            answered = {}
            for name in names if number % 2 else reversed(names):
                found = load.run(wrk, _target(targets[name]), case, seconds)
                if found.errors:
                    raise BenchError(f"{found.errors} of {found.sent} requests failed in the system {name}.")
                answered[name] = found.per_second
            print(
                "  " + ", ".join(f"{name} {rate:.0f}/s" for name, rate in answered.items()), file=sys.stderr, flush=True
            )
            for name, rate in answered.items():
                ratios[name].append(rate / answered[_NEITHER])
    return [Figure(TRACING, median(ratios[_TRACED])), Figure(METRICS, median(ratios[_COUNTED]))]


def time_traces(directory: Path) -> list[Timing]:
    """Time from the end of an answer until every span of its trace can be read; its caller asked for the trace.

    Raises:
        BenchError: a request failed, or a trace did not become whole.
    """
    durations_ns = []
    began = time.perf_counter()
    with _upstream(directory) as upstream, _system(directory / _TRACED, _TRACED, upstream) as system:
        target = _target(system)
        with httpx.Client(base_url=target.base_url, headers={"authorization": f"Bearer {target.token}"}) as client:
            for _ in range(_TRACES):
                durations_ns.append(_time_trace(system, client, target.model))
    return [timing(TRACE_STORED, durations_ns, time.perf_counter() - began)]


def _time_trace(system: KeyferrySystem, client: httpx.Client, model: str) -> int:
    trace_id = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    answer = client.post("/chat/completions", json=body, headers=headers)
    if answer.status_code != 200:
        raise BenchError(f"A request was not answered: {answer.status_code} {answer.text[:200]}")
    ended_ns = time.perf_counter_ns()
    while True:
        names = [span.name for span in stored_spans(system, trace_id)]
        read_ns = time.perf_counter_ns()
        if len(names) > len(_SPANS) and set(names) >= _SPANS:
            return read_ns - ended_ns
        if read_ns - ended_ns > _WAIT_SECONDS * 1e9:
            raise BenchError(f"A trace did not become whole: {sorted(names)}")


@contextlib.contextmanager
def _upstream(directory: Path) -> Iterator[str]:
    port = loopback.find_free_port()
    command = [sys.executable, "-m", "tests.bench.overload.upstream_process", str(port), "0"]
    with started("provider", command, directory):
        yield f"http://127.0.0.1:{port}/{_ENDPOINT}/v1"


@contextlib.contextmanager
def _system(directory: Path, name: str, upstream: str) -> Iterator[KeyferrySystem]:
    directory.mkdir()
    directory.chmod(0o711)  # PostgreSQL may run as another user
    settings = {"KEYFERRY_TIER_FILE": str(write_unlimited_tiers(directory)), **_SETTINGS[name]}
    with running_system(directory / "home", settings) as system:
        system.add_endpoint(_ENDPOINT, upstream, SHARED_MODEL)
        yield system


def _target(system: KeyferrySystem) -> Target:
    return Target(f"{system.http_url}/v1", f"{_ENDPOINT}/{SHARED_MODEL}", system.token)
