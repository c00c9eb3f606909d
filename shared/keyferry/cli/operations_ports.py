"""The doctor's checks of the operations ports, which Prometheus and probes read: what `run/prometheus-targets.json` lists."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from keyferry.cli.problem import Finding
from keyferry.runtime.process.os_errors import describe_os_error

if TYPE_CHECKING:
    import httpx

SUBJECT = "operations ports"
_ANSWER_SECONDS = 5.0
_TAKEOVER_SECONDS = 3.0
"""How long nobody may have the port: a process that has just started, or takes it over from another one, opens it late."""
_RETRY_SECONDS = 0.25
_AT_ONCE = 8
_OUR_FIGURES = "keyferry_build_info{"
"""In the figures of every process."""
_RESTART_ALL = "Stop the system and start it again with `make up`, which writes the file"
_MAX_WORDS = 200


class _Labels(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    service: str
    instance: str


class OperationsTarget(BaseModel):
    """One process in the list."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    targets: list[str] = Field(min_length=1, max_length=1)
    labels: _Labels

    @property
    def address(self) -> str:
        """Where it answers: host and port."""
        return self.targets[0]

    @property
    def subject(self) -> str:
        """What findings about it are named after."""
        return f"operations port of {self.labels.instance}"


class _Readiness(BaseModel):
    """What `/readyz` answers."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    status: str
    waiting_for: list[str] = []


_TARGETS = TypeAdapter(list[OperationsTarget])


def check_operations_ports(file: Path) -> Iterator[Finding]:
    """Ask each listed process for its readiness and its figures: one finding for each that fails, else one for all."""
    try:
        targets = _TARGETS.validate_json(file.read_bytes())
    except FileNotFoundError:
        yield Finding(SUBJECT, f"{file} is missing, so that Prometheus finds no process", _RESTART_ALL)
        return
    except OSError as error:
        yield Finding(SUBJECT, describe_os_error(error), "Run this as the user who started the installation")
        return
    except ValidationError:
        yield Finding(SUBJECT, f"{file} is no list of targets", _RESTART_ALL)
        return
    if not targets:
        yield Finding(SUBJECT, "none: the system was started with KEYFERRY_METRICS_PORT=0")
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(_check_port, targets))
    yield from (finding for finding in found if finding is not None)
    if all(finding is None or finding.ok for finding in found):
        yield Finding(SUBJECT, f"{len(targets)} processes answer /readyz and /metrics")


def _check_port(target: OperationsTarget) -> Finding | None:
    """Return what there is to say about a port; None if all is well."""
    import httpx  # takes a tenth of a second to load, which other commands save

    # Without proxies of the environment: the ports are those of this machine.
    with httpx.Client(base_url=f"http://{target.address}", trust_env=False, timeout=_ANSWER_SECONDS) as client:
        give_up = time.monotonic() + _TAKEOVER_SECONDS
        while True:
            try:
                return _find_fault(target, client.get("/readyz"), client.get("/metrics"))
            except httpx.ConnectError as error:
                if time.monotonic() >= give_up:
                    return _unreachable(target, error)
                time.sleep(_RETRY_SECONDS)
            except httpx.HTTPError as error:
                return _unreachable(target, error)


def _unreachable(target: OperationsTarget, error: Exception) -> Finding:
    name = target.labels.service
    return Finding(
        target.subject,
        f"{target.address} does not answer ({type(error).__name__})",
        f"Look at the log of {name}: if something else has the port, end that, as the process goes on trying;"
        f" else `keyferry restart {name}`",
    )


def _find_fault(target: OperationsTarget, readiness: "httpx.Response", figures: "httpx.Response") -> Finding | None:
    if figures.status_code != 200 or _OUR_FIGURES not in figures.text:
        return Finding(
            target.subject,
            f"{target.address}/metrics has no figures of Keyferry (status {figures.status_code})",
            "Another program has the port: end it, and the process takes the port over within a second",
        )
    if readiness.status_code == 200:
        return None
    try:
        said = _Readiness.model_validate_json(readiness.content)
    except ValidationError:
        said = _Readiness(status=f"status {readiness.status_code}")
    if said.status == "draining":
        # Its successor reports itself as degraded if it does not get the port in time.
        return Finding(target.subject, "a process that only finishes what it has keeps it for its successor")
    waiting = f"waiting for {', '.join(said.waiting_for)}" if said.waiting_for else said.status
    name = target.labels.service
    return Finding(
        target.subject,
        f"{target.address}/readyz says that it is not ready: {waiting[:_MAX_WORDS]}",
        f"Look at the log of {name}; `keyferry restart {name}` starts it again",
    )
