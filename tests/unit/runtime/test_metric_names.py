"""Every metric of the code is in the guide, and nothing in the guide is missing from the code."""

import re

from prometheus_client.metrics import MetricWrapperBase

from keyferry.runtime.metrics.registry import REGISTRY
from tests.support.repository.files import ROOT

_GUIDE = ROOT / "docs" / "guides" / "metrics.md"
_ROW = re.compile(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|([^|]*)\|[^|]+\|[^|]+\|$", re.MULTILINE)
_MADE = re.compile(r"(Bounded(?:Counter|Histogram)|(?:gauges|metrics)\.(?:gauge|counter))\(\s*\"([a-z_]+)\"", re.DOTALL)
_LISTED = re.compile(r"^        \(\s*\"(keyferry_[a-z_]+)\",", re.MULTILINE)
_TYPES = {"BoundedCounter": "counter", "counter": "counter", "BoundedHistogram": "histogram", "gauge": "gauge"}
_FORBIDDEN = ("tenant", "key", "token", "request", "member", "team", "model", "user", "worker_id", "trace")


def in_code() -> dict[str, str]:
    """Return the metrics that the code makes, by name, with their types."""
    found: dict[str, str] = {}
    for folder in ("shared/keyferry", "services"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            found |= {name: _TYPES[made.rpartition(".")[2]] for made, name in _MADE.findall(text)}
            if "register_figures" in text:
                found |= dict.fromkeys(_LISTED.findall(text), "gauge")
    return found


def in_guide() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the metrics of the guide's table: their types and labels."""
    return {
        name: (kind, tuple(re.findall(r"`([a-z_]+)`", labels)))
        for name, kind, labels in _ROW.findall(_GUIDE.read_text())
    }


def test_the_guide_has_exactly_the_metrics_of_the_code() -> None:
    assert {name: kind for name, (kind, _) in in_guide().items()} == in_code()


def test_labels_are_those_of_the_guide() -> None:
    import services.console.app
    import services.health_monitor.app
    import services.ingress.app
    import services.key_vault.app
    import services.provider_worker.app
    import services.router.app
    import services.usage_ledger.app  # noqa: F401 - each brings its metrics

    made = {
        collector._name + ("_total" if collector._type == "counter" else ""): collector._labelnames
        for collector in REGISTRY._collector_to_names
        if isinstance(collector, MetricWrapperBase) and not collector._name.startswith("keyferry_test_")
    }
    described = in_guide()
    assert len(made) > 20
    assert {name: described[name][1] for name in made} == made


def test_no_label_names_a_tenant_or_what_belongs_to_one() -> None:
    for name, (_, labels) in in_guide().items():
        for label in labels:
            assert not any(part in label.split("_") for part in _FORBIDDEN if not label.startswith("gen_ai_")), (
                name,
                label,
            )


def test_names_end_with_their_unit() -> None:
    for name, (kind, _) in in_guide().items():
        assert name.endswith("_total") == (kind == "counter"), name
        if kind == "histogram":
            assert name.endswith(("_seconds", "_token_usage")), name
