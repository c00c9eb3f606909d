"""A real Prometheus scrapes a real system: every process answers, and has what rules and dashboards ask for."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.observe.alerts import ALERTS
from deploy.observe.dashboard_contents import DASHBOARDS
from deploy.observe.recordings import GROUPS
from tests.observe.prometheus_programs import find_programs
from tests.support.repository.files import ROOT
from tests.support.servers.ports import find_free_port
from tests.support.system.keyferry_system import KeyferrySystem, running_system
from tests.support.waiting import until

_SECONDS = 120.0
_METRIC = re.compile(r"\b(?:keyferry_|gen_ai_client_|process_)[a-z0-9_]+")
_PART = re.compile(r"_(?:bucket|sum|count)$")
_LABELS = frozenset({"gen_ai_provider_name", "gen_ai_token_type"})
_ONLY_WITH_TLS = frozenset({"keyferry_certificate_expiry_seconds"})
"""Its name has no series here: the system of the test has no certificates."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyferrySystem]:
    with running_system(tmp_path_factory.mktemp("system")) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(system: KeyferrySystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    command = [sys.executable, "-m", "deploy.observe", "config", "--home", str(system.home)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    (folder / "prometheus.yml").write_text(
        printed.replace("15s", "1s").replace("evaluation_interval: 30s", "evaluation_interval: 1s")
    )
    port = find_free_port()
    command = [
        str(find_programs() / "prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("w") as log:
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        started.terminate()
        started.wait(timeout=30)


def ask(url: str, path: str, **parameters: str) -> Any:
    response = httpx.get(f"{url}/api/v1/{path}", params=parameters, timeout=30)
    assert response.status_code == 200, response.text
    return response.json()["data"]


def reachable_targets(url: str) -> list[dict[str, Any]]:
    try:
        return [target for target in ask(url, "targets")["activeTargets"] if target["health"] == "up"]
    except (httpx.HTTPError, AssertionError):
        return []


def test_every_process_is_scraped_and_every_rule_is_evaluated(system: KeyferrySystem, prometheus: str) -> None:
    for _ in range(3):
        system.openai().chat.completions.create(model="echo", messages=[{"role": "user", "content": "hello"}])
    processes = json.loads((Path(system.home) / "run" / "prometheus-targets.json").read_text())
    until("every process is scraped", lambda: len(reachable_targets(prometheus)) == len(processes), _SECONDS)
    names = {name for expression in expressions() for name in _METRIC.findall(expression)}
    names -= _LABELS | _ONLY_WITH_TLS
    until(
        "every metric of the rules and dashboards is shown by some process",
        lambda: not {name for name in names if not {name, _PART.sub("", name)} & shown(prometheus)},
        _SECONDS,
    )
    until(
        "the requests are counted",
        lambda: total(prometheus, 'sum(keyferry_service_level_events_total{level="routing",result="good"})') >= 3,
        _SECONDS,
    )
    groups = ask(prometheus, "rules")["groups"]
    unhealthy = [rule["name"] for group in groups for rule in group["rules"] if rule["health"] not in ("ok", "unknown")]
    assert not unhealthy
    pages = [
        alert
        for alert in ask(prometheus, "alerts")["alerts"]
        if alert["state"] == "firing" and alert["labels"]["severity"] == "page"
    ]
    assert not pages, "a system that works raises no page"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_every_query_of_a_dashboard_is_one(prometheus: str, dashboard: Any) -> None:
    for panel in dashboard.panels:
        for query in panel.queries:
            ask(prometheus, "query", query=query)


def expressions() -> list[str]:
    return [
        *(rule.expression for group in GROUPS.values() for rule in group),
        *(alert.expression for alert in ALERTS),
        *(query for dashboard in DASHBOARDS for panel in dashboard.panels for query in panel.queries),
    ]


def shown(url: str) -> set[str]:
    """Return the names that processes show, also of those that have counted nothing yet."""
    return set(ask(url, "metadata"))


def total(url: str, query: str) -> float:
    found = ask(url, "query", query=query)["result"]
    return float(found[0]["value"][1]) if found else 0.0
