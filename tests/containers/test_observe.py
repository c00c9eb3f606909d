"""The profile `observe`: Compose takes it, and Prometheus finds every process with the files of this repository."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deploy.observe.scraping import compose_targets
from tests.containers.project import ComposeProject
from tests.support.waiting import until

NAMES = {"prometheus", "grafana"}


@pytest.fixture
def prometheus(project: ComposeProject) -> Iterator[str]:
    """Prometheus alone: there is no Grafana where no registry of images can be reached."""
    until("the system is ready", project.is_ready, 60)
    project.compose("--profile", "observe", "up", "--detach", "--no-deps", "prometheus")
    yield f"http://127.0.0.1:{project.prometheus_port}"
    project.compose("--profile", "observe", "rm", "--stop", "--force", "prometheus")


def ask(url: str, path: str) -> dict[str, Any]:
    """Return what Prometheus answers; nothing while it does not."""
    try:
        response = httpx.get(f"{url}/api/v1/{path}", timeout=10, trust_env=False)
    except httpx.TransportError:
        return {}
    data: dict[str, Any] = response.json()["data"] if response.is_success else {}
    return data


def test_compose_takes_the_profile(project: ComposeProject) -> None:
    with_profile = json.loads(project.compose("--profile", "observe", "config", "--format", "json"))["services"]
    without = json.loads(project.compose("config", "--format", "json"))["services"]
    assert set(with_profile) - set(without) == NAMES
    for name in NAMES:
        [port] = with_profile[name]["ports"]
        assert port["host_ip"] == "127.0.0.1"
        assert with_profile[name]["read_only"] is True


def test_prometheus_scrapes_every_process_and_evaluates_every_rule(project: ComposeProject, prometheus: str) -> None:
    expected = {target["targets"][0] for target in compose_targets()}

    def all_are_up() -> bool:
        found = ask(prometheus, "targets").get("activeTargets", [])
        return {target["labels"]["job"] for target in found} == {"keyferry"} and expected == {
            target["discoveredLabels"]["__address__"] for target in found if target["health"] == "up"
        }

    until("every process is scraped", all_are_up, 90)
    groups = ask(prometheus, "rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    assert not [rule["name"] for rule in rules if rule["health"] not in ("ok", "unknown")]
    container = project.container("prometheus")
    assert container["HostConfig"]["ReadonlyRootfs"] is True
    assert container["HostConfig"]["CapDrop"] == ["ALL"]
