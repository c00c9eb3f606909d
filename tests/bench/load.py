"""One run of the compiled load generator, wrk, against one target."""

import dataclasses
import json
import resource
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench import payload
from tests.bench.case import Case
from tests.bench.failure import BenchError
from tests.bench.system import Target

_SCRIPT = Path(__file__).with_name("load.lua")
_RESULT_PREFIX = "BENCH "
_REQUEST_TIMEOUT_SECONDS = 5
_IDLE_SECONDS = 1
"""How long a run goes on without new requests, so that those in flight end."""

_GRACE_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class Load:
    """What the client side saw in one run.

    Attributes:
        sent: requests put on the wire.
        ok: answers with status 200 and the right ending.
        errors: wrong answers, requests without an answer, broken connections, answers later than 5 s.
        elapsed_seconds: from the first request to the last answer.
        p50_us, p90_us, p99_us: latency to the end of the answer or, for first-token runs, to the token.
        client_cpu_us: processor time of the load generator.
    """

    sent: int
    ok: int
    errors: int
    elapsed_seconds: float
    p50_us: int
    p90_us: int
    p99_us: int
    client_cpu_us: int

    @property
    def per_second(self) -> float:
        """Right answers per second."""
        return self.ok / self.elapsed_seconds if self.elapsed_seconds else 0.0


def run(wrk: str, target: Target, case: Case, seconds: int) -> Load:
    """Send the case's requests for `seconds`, wait for the last answers and return what was seen.

    Raises:
        BenchError: wrk failed, hung, or printed no result.
    """
    ending = payload.DONE.decode().strip() if case.kind.streams else "}"
    with tempfile.TemporaryDirectory(prefix="bench-load-") as directory:
        request = Path(directory, "request")
        request.touch(mode=0o600)  # it may carry a token
        request.write_bytes(request_bytes(target, case))
        command = [wrk, "--threads", "1", "--connections", str(case.clients)]
        command += ["--duration", f"{seconds + _IDLE_SECONDS}s", "--timeout", f"{_REQUEST_TIMEOUT_SECONDS}s"]
        command += ["--script", str(_SCRIPT), target.base_url, "--", str(request), str(seconds), ending]
        before_us = _children_cpu_us()
        output = _call(command, seconds + _IDLE_SECONDS + _GRACE_SECONDS)
        return parse(output, _children_cpu_us() - before_us)


def request_bytes(target: Target, case: Case) -> bytes:
    """Return the complete HTTP/1.1 request of a case as it goes over the wire."""
    url = urlsplit(target.base_url)
    body = payload.request_body(target.model, case.kind.streams)
    lines = [f"POST {url.path}/chat/completions HTTP/1.1", f"Host: {url.netloc}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}"]
    if target.token is not None:
        lines += [f"Authorization: Bearer {target.token}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def parse(output: str, client_cpu_us: int) -> Load:
    """Read the result line of `load.lua` out of what wrk printed.

    Raises:
        BenchError: there is no such line.
    """
    line = next((line for line in output.splitlines() if line.startswith(_RESULT_PREFIX)), None)
    if line is None:
        raise BenchError(f"wrk printed no result; it printed: {output.strip()[-500:]}")
    seen: dict[str, int] = json.loads(line.removeprefix(_RESULT_PREFIX))
    # A connection that breaks shows in both counts, a refused one only among the socket errors.
    unanswered = max(seen["sent"] - seen["answered"], seen["socket_errors"])
    return Load(
        sent=seen["sent"],
        ok=seen["answered"] - seen["wrong"],
        errors=seen["wrong"] + unanswered + seen["timeouts"],
        elapsed_seconds=seen["elapsed_us"] / 1e6,
        p50_us=seen["p50_us"],
        p90_us=seen["p90_us"],
        p99_us=seen["p99_us"],
        client_cpu_us=client_cpu_us,
    )


def _call(command: list[str], timeout_seconds: int) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"wrk did not end within {timeout_seconds} s and was stopped.") from error
    if done.returncode != 0:
        raise BenchError(f"wrk ended with status {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def _children_cpu_us() -> int:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((usage.ru_utime + usage.ru_stime) * 1e6)
