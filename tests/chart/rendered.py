"""The Helm chart as Helm renders it: the manifests of a release, for tests."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

from deploy.helm.render import CHART

Manifest = dict[str, Any]
NAMESPACE, RELEASE = "prod", "demo"
EXAMPLES = CHART.parent / "examples"
LEAST: Mapping[str, Any] = {"nats": {"urls": ["nats://nats:4222"]}}
"""The values that an installation must give."""


def render(values: Mapping[str, Any] = LEAST) -> list[Manifest]:
    """Return the manifests. Raises helm_python.HelmError for values that the chart refuses."""
    return [document for text in _render(json.dumps(values)) for document in yaml.safe_load_all(text) if document]


@cache
def _render(values: str) -> tuple[str, ...]:
    """Values arrive as text, so that each set of them is rendered once."""
    given = json.loads(values)
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(given))
        files = chart.render(given, name=RELEASE, namespace=NAMESPACE)
    return tuple(text for name, text in files.items() if name.endswith(".yaml"))


def example() -> Manifest:
    """Return the values of the production example."""
    values: Manifest = yaml.safe_load((EXAMPLES / "values.yaml").read_text())
    return values


def of_kind(manifests: list[Manifest], *kinds: str) -> dict[str, Manifest]:
    """Return the manifests of these kinds by their names, without the release's."""
    return {m["metadata"]["name"].removeprefix(f"{RELEASE}-"): m for m in manifests if m["kind"] in kinds}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the pod specification of each workload."""
    found = of_kind(manifests, "Deployment", "StatefulSet", "Job")
    return {name: manifest["spec"]["template"]["spec"] for name, manifest in found.items()}


def environment(pod: Manifest) -> dict[str, str]:
    """Return the settings of a pod's first container that have a value."""
    return {entry["name"]: entry["value"] for entry in pod["containers"][0].get("env", []) if "value" in entry}


def documents(file: Path) -> Iterator[Manifest]:
    """Yield the documents of a YAML file."""
    yield from yaml.safe_load_all(file.read_text())
