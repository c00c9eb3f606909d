"""Prometheus accepts the rules and the configuration, and each alert fires when it should and not otherwise."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.observe.__main__ import FOLDER
from deploy.observe.alerts import ALERTS
from tests.observe.alert_cases import CASES, AlertCase
from tests.observe.prometheus_programs import find_programs

RULES = sorted((FOLDER / "prometheus" / "rules").glob("*.yml"))


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        [find_programs() / "promtool", *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_rules_and_the_configuration() -> None:
    promtool("check", "rules", *RULES)
    promtool("check", "config", FOLDER / "prometheus" / "prometheus.yml")


def situation(case: AlertCase, *, fires: bool) -> dict[str, Any]:
    labels = f'{{alertname="{case.alert}",severity="{case.severity}"}}'
    raised = f'ALERTS{{alertname="{case.alert}",alertstate="firing",severity="{case.severity}"}}'
    return {
        "name": f"{case.alert} {'fires' if fires else 'is silent'}",
        "interval": case.interval,
        "input_series": [
            {"series": name, "values": values} for name, values in (case.fires if fires else case.silent).items()
        ],
        "promql_expr_test": [
            {
                "expr": f"count by (alertname, severity) ({raised})",
                "eval_time": case.at,
                "exp_samples": [{"labels": labels, "value": case.alerts}] if fires else [],
            }
        ],
    }


def check(situations: list[dict[str, Any]], interval: str, file: Path) -> None:
    tests = {"rule_files": [str(path) for path in RULES], "evaluation_interval": interval, "tests": situations}
    file.write_text(yaml.safe_dump(tests, sort_keys=False))
    promtool("test", "rules", file)


@pytest.mark.parametrize("interval", sorted({case.interval for case in CASES}))
def test_every_alert_fires_when_it_should_and_not_otherwise(interval: str, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.interval == interval]
    situations = [situation(case, fires=fires) for case in cases for fires in (True, False)]
    check(situations, interval, tmp_path / "alerts.yml")


def test_every_alert_has_a_case() -> None:
    assert {(case.alert, case.severity) for case in CASES} == {(rule.name, rule.severity.value) for rule in ALERTS}


def test_a_ticket_about_an_error_budget_is_no_page(tmp_path: Path) -> None:
    tickets = [case for case in CASES if case.severity == "ticket" and "ErrorBudget" in case.alert]
    pages = [AlertCase(case.alert, "page", {}, case.fires, case.at, case.interval) for case in tickets]
    check([situation(page, fires=False) for page in pages], "5m", tmp_path / "pages.yml")
