"""Renders the files for Prometheus and Grafana, and the scrape configuration of an installation.

python -m deploy.observe                          write the files beside this module
python -m deploy.observe --check                  exit 1 if one is not up to date
python -m deploy.observe config [--home DIR]      print Prometheus's configuration for what `make up` runs
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from deploy.observe import alerts, recordings
from deploy.observe.dashboard_contents import DASHBOARDS
from deploy.observe.scraping import compose_targets, prometheus_configuration
from keyferry.cli.installation import HOME_NAME, TARGETS_FILE
from keyferry.contracts.rendered_files import find_drift, write

FOLDER = Path(__file__).parent
_NOTE = "# Rendered by `python -m deploy.observe`: change the modules there, not this file.\n"


def rendered_files() -> Iterator[tuple[Path, str]]:
    """Yield the path of each file, under this folder, and what should be in it."""
    recorded = {"groups": [_group(name, rules, 30) for name, rules in recordings.GROUPS.items()]}
    alerting = {"groups": [_group(name, rules, 30) for name, rules in alerts.GROUPS.items()]}
    prometheus = Path("prometheus")
    yield prometheus / "rules" / "recording.yml", _yaml(recorded)
    yield prometheus / "rules" / "alerts.yml", _yaml(alerting)
    yield prometheus / "prometheus.yml", _yaml(prometheus_configuration("rules/*.yml", "targets/*.json"))
    yield prometheus / "targets" / "compose.json", json.dumps(compose_targets(), indent=2) + "\n"
    for dashboard in DASHBOARDS:
        yield Path("grafana", "dashboards", f"{dashboard.uid}.json"), json.dumps(dashboard.render(), indent=2) + "\n"


def _group(name: str, rules: Sequence[Any], seconds: int) -> dict[str, Any]:
    return {"name": name, "interval": f"{seconds}s", "rules": [rule.render() for rule in rules]}


def _yaml(content: dict[str, Any]) -> str:
    return _NOTE + yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)


def _write(check: bool, folder: Path) -> int:
    files = dict(rendered_files())
    if not check:
        for name in write(folder, files):
            sys.stdout.write(f"wrote deploy/observe/{name}\n")
        return 0
    outdated = find_drift(folder, files)
    for name in outdated:
        sys.stderr.write(f"deploy/observe/{name} is not up to date: run `python -m deploy.observe`\n")
    return 1 if outdated else 0


def _print_configuration(home: Path) -> int:
    targets = home.resolve() / TARGETS_FILE
    if not targets.is_file():
        sys.stderr.write(f"{targets} does not exist: start the system with `make up`, or name its home with --home\n")
        return 1
    rules = FOLDER / "prometheus" / "rules" / "*.yml"
    sys.stdout.write(yaml.safe_dump(prometheus_configuration(str(rules), str(targets)), sort_keys=False))
    return 0


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.observe", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not up to date")
    commands = parser.add_subparsers(dest="command")
    config = commands.add_parser("config", help="print Prometheus's configuration for what `make up` runs")
    config.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("KEYFERRY_HOME") or HOME_NAME),
        help="the installation's directory (default: KEYFERRY_HOME, or .keyferry here)",
    )
    given = parser.parse_args(arguments)
    return _print_configuration(given.home) if given.command == "config" else _write(given.check, folder)


if __name__ == "__main__":
    sys.exit(main())
