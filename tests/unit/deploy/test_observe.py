"""Rules, alerts and dashboards agree with each other, with the code that they are rendered from, and with the documents."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.observe.__main__ import FOLDER, main, rendered_files
from deploy.observe.alerts import ALERTS
from deploy.observe.dashboard_contents import DASHBOARDS
from deploy.observe.recordings import GROUPS
from deploy.observe.scraping import compose_targets
from keyferry.cli.main import run
from keyferry.contracts.service_levels import ServiceLevelName
from keyferry.contracts.topology import SERVICES
from tests.contract.deploy.composition import services
from tests.support.repository.documents import Document
from tests.support.repository.files import ROOT

RUNBOOKS = ROOT / "docs" / "runbooks"
RECORDED = {rule.name for group in GROUPS.values() for rule in group}
EXPRESSIONS = [
    *(rule.expression for group in GROUPS.values() for rule in group),
    *(alert.expression for alert in ALERTS),
    *(query for dashboard in DASHBOARDS for panel in dashboard.panels for query in panel.queries),
]
_METRIC = re.compile(r"\b(?:keyferry_|gen_ai_client_|process_)[a-z0-9_]+")
_PART = re.compile(r"_(?:bucket|sum|count)$")
_RECORDED = re.compile(r"\bkeyferry:[a-z0-9_:]+")


def test_the_files_are_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err
    assert main(["--check"], tmp_path) == 1
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    extra = {path.relative_to(FOLDER) for path in FOLDER.rglob("*.json")} - {path for path, _ in rendered_files()}
    assert not extra


def test_every_recorded_series_that_is_used_is_recorded_and_used() -> None:
    used = {name for expression in EXPRESSIONS for name in _RECORDED.findall(expression)}
    assert used == RECORDED


def test_every_metric_that_is_used_is_documented() -> None:
    text = (ROOT / "docs" / "guides" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `([a-z0-9_]+)`", text, re.MULTILINE)) | set(
        re.findall(r"`(process_[a-z_]+)`", text)
    )
    labels = {"gen_ai_provider_name", "gen_ai_token_type"}
    used = {name for expression in EXPRESSIONS for name in _METRIC.findall(expression)} - labels
    assert not {name for name in used if name not in documented and _PART.sub("", name) not in documented}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    pages = {path.stem: path.read_text() for path in RUNBOOKS.glob("*.md") if path.name != "README.md"}
    assert set(pages) == {alert.page for alert in ALERTS}
    index = (RUNBOOKS / "README.md").read_text()
    for alert in ALERTS:
        assert f"Alert: `{alert.name}`" in pages[alert.page]
        assert alert.severity.value in pages[alert.page].splitlines()[2]
        assert f"| `{alert.name}` |" in index
    assert {f"error-budget-{name.value}" for name in ServiceLevelName} <= set(pages)


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbook_begins_with_what_to_look_at(path: Path) -> None:
    document = Document(str(path.relative_to(ROOT)))
    assert any(block.language == "sh" for block in document.blocks)
    if path.name != "README.md":
        headings = [line for line in path.read_text().splitlines() if line.startswith("## ")]
        assert headings[:3] == ["## What it means", "## Look", "## Do"]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_a_dashboard_has_no_overlapping_panels(dashboard: Any) -> None:
    rendered = json.loads(json.dumps(dashboard.render()))
    assert len({panel["id"] for panel in rendered["panels"]}) == len(rendered["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in rendered["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or all(target["expr"] for target in panel["targets"])


def test_every_container_is_a_target() -> None:
    hosts = {target["targets"][0].partition(":")[0] for target in compose_targets()}
    assert hosts == set(services())
    assert {target["labels"]["service"] for target in compose_targets()} == {role.value for role in SERVICES}


def test_the_configuration_of_an_installation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--home", str(tmp_path)]) == 1
    assert "make up" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "prometheus-targets.json").write_text("[]")
    assert main(["config", "--home", str(tmp_path)]) == 0
    assert str(tmp_path / "run" / "prometheus-targets.json") in capsys.readouterr().out


def test_the_command_that_alerts_name_exists() -> None:
    assert run(["slo", "--help"]) == 0
