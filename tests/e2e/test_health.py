"""A provider fails: its circuit opens, requests go elsewhere, and the outage says so; an operator keeps requests away."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.support.providers.upstream import ProviderRequest, Reply, Upstream, completion, failing, running_upstream
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

SICK, WELL, MODEL = "health-a-sick", "health-b-well", "health-model"


def scripted(request: ProviderRequest) -> Reply:
    if request.method == "GET":
        return failing(404, {"message": "no list"})
    if request.path.startswith("/sick/"):
        return failing(500, {"message": "broken"})
    return completion("served", request.body["model"])


@pytest.fixture
def upstream(system: KeyferrySystem) -> Iterator[Upstream]:
    """Provide two endpoints of the demo tenant that offer the same model, of which the first always fails."""
    with running_upstream(scripted) as running:
        root = running.base_url.removesuffix("/v1")
        system.add_endpoint(SICK, f"{root}/sick/v1", MODEL)
        system.add_endpoint(WELL, f"{root}/well/v1", MODEL)
        yield running
        system.cli("endpoints", "rm", SICK, "--tenant", "demo")
        system.cli("endpoints", "rm", WELL, "--tenant", "demo")


def ask(system: KeyferrySystem) -> str:
    """Send a request; return which endpoint has answered."""
    raw = system.openai().chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "hello"}]
    )
    return str(raw.headers["x-keyferry-provider"])


def listed(system: KeyferrySystem, what: str, name: str) -> dict[str, Any] | None:
    """Return what `keyferry health list` or `outages` has of one endpoint of the demo tenant."""
    found = json.loads(system.cli("health", what, "--tenant", "demo", "--json"))
    rows = found["targets" if what == "list" else "outages"]
    return next((row for row in rows if (row.get("target") or row).get("endpoint") == name), None)


def having(system: KeyferrySystem, what: str, name: str, check: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return that row once it passes the check."""

    def row() -> dict[str, Any] | None:
        found = listed(system, what, name)
        return found if found is not None and check(found) else None

    return until(f"{what} of {name} is as expected", row)


def test_an_outage_from_the_first_failure_to_what_an_operator_does(system: KeyferrySystem, upstream: Upstream) -> None:
    assert [ask(system) for _ in range(6)] == [WELL] * 6
    sick = having(system, "list", SICK, lambda row: row["state"] == "open")
    assert "all 5 attempts within 10 s failed" in sick["reason"]
    assert sick["failures"] == sick["samples"]
    assert [ask(system) for _ in range(3)] == [WELL] * 3
    outage = having(system, "outages", SICK, lambda row: row["affected_requests"] == row["served_elsewhere"] >= 8)
    assert outage.get("ended_at") is None
    assert outage["refused"] == 0
    assert [(row["endpoint"], row["model"]) for row in outage["rerouted_to"]] == [(WELL, MODEL)]
    well = having(system, "list", WELL, lambda row: row["samples"] == 9)
    assert (well["state"], well["failures"], well["p95_ms"] >= well["p50_ms"]) == ("closed", 0, True)

    made = system.cli("health", "open", WELL, "--tenant", "demo", "--for", "10m", "--reason", "maintenance")
    assert f"demo/{WELL} is forced open until" in made

    def refused() -> openai.APIStatusError | None:
        try:
            ask(system)
        except openai.APIStatusError as error:
            return error
        return None

    error = until("routers obey", refused)
    assert error.status_code == 503
    assert int(error.response.headers["retry-after"]) <= 600
    assert "maintenance" in system.cli("health", "list", "--tenant", "demo")
    assert "is not forced any more" in system.cli("health", "release", WELL, "--tenant", "demo")
    until("requests are served again", lambda: refused() is None)
    actions = {entry["event"]["action"] for entry in audit(system)}
    assert {"health.force_open", "health.release"} <= actions
    assert "the audit log is complete and unchanged" in system.cli("audit", "verify")


def audit(system: KeyferrySystem) -> list[dict[str, Any]]:
    """Return the demo tenant's audit once both actions are recorded."""

    def entries() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = json.loads(system.cli("audit", "list", "--tenant", "demo", "--json"))["entries"]
        return found if any(entry["event"]["action"] == "health.release" for entry in found) else None

    return until("the audit has what was done", entries)
