"""Metrics of a process: their number is bounded whatever strangers send, and one defect hides no other figure."""

import uuid
from collections.abc import Iterable

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from keyferry.runtime.metrics.gauges import ProcessGauges
from keyferry.runtime.metrics.registry import (
    MAX_SERIES,
    MAX_VALUES,
    OTHER,
    REGISTRY,
    BoundedCounter,
    BoundedHistogram,
    EveryMetric,
    _Series,
    stop_counting,
)

HOSTILE = ("a\nkeyferry_x 1", "\x00", "\ud800", "é", "x" * 129, "\u202e", "tab\t")


def fresh_name(ending: str) -> str:
    return f"keyferry_test_{uuid.uuid4().hex}_{ending}"


def samples(name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a metric as Prometheus' own parser reads them: their label values, sorted by label."""
    families = text_string_to_metric_families(generate_latest(REGISTRY).decode())
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def test_a_counter_counts_by_its_labels_and_shows_those_known_beforehand() -> None:
    name = fresh_name("total")
    counter = BoundedCounter(name, "Text.", ("a", "b"), preset=[("x", "y"), ("never", "")])
    counter.inc("x", "y", by=2)
    counter.inc("x", "z")
    counter.inc("x", "y")
    assert samples(name) == {("x", "y"): 3, ("x", "z"): 1, ("never", ""): 0}


def test_a_process_that_shows_nothing_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Series, "counting", True)  # to be set back
    one, many = fresh_name("total"), fresh_name("seconds")
    counter, histogram = BoundedCounter(one, "Text.", ("a",)), BoundedHistogram(many, "Text.", buckets=(1.0,))
    counter.inc("x")
    stop_counting()
    counter.inc("x")
    histogram.observe(0.5)
    assert samples(one) == {("x",): 1}
    assert samples(f"{many}_count") == {(): 0}


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_values_that_are_no_plain_text_count_as_other(value: str) -> None:
    name = fresh_name("total")
    counter = BoundedCounter(name, "Text.", ("a",))
    plain = "plain, with 'marks' \"and\" \\ more}"
    counter.inc(value)
    counter.inc(plain)
    assert samples(name) == {(OTHER,): 1, (plain,): 1}


def test_the_number_of_series_is_bounded() -> None:
    one, many = fresh_name("total"), fresh_name("seconds")
    counter = BoundedCounter(one, "Text.", ("a",))
    histogram = BoundedHistogram(many, "Text.", ("a", "b"), buckets=(1,))
    for number in range(3 * MAX_VALUES):
        counter.inc(f"provider-{number}")
        for other in range(MAX_VALUES):
            histogram.observe(0.5, f"provider-{number}", f"model-{other}")
    counted = samples(one)
    assert len(counted) == MAX_VALUES + 1
    assert counted[(OTHER,)] == 2 * MAX_VALUES
    observed = samples(f"{many}_count")
    assert len(observed) <= MAX_SERIES + 1
    assert sum(observed.values()) == 3 * MAX_VALUES * MAX_VALUES


def test_a_missing_label_value_is_a_defect() -> None:
    with pytest.raises(ValueError, match="1 values for 2 labels"):
        BoundedCounter(fresh_name("total"), "Text.", ("a", "b")).inc("x")


def test_no_series_of_creation_times_are_shown() -> None:
    BoundedCounter(fresh_name("total"), "Text.").inc()
    assert "_created" not in generate_latest(REGISTRY).decode()


def read(gauges: ProcessGauges) -> Iterable[str]:
    text = generate_latest(EveryMetric(gauges)).decode()
    return [line for line in text.splitlines() if not line.startswith(("#", "process_"))]


def test_a_gauge_is_read_when_it_is_shown_and_a_defect_in_one_hides_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gauges, depth = ProcessGauges(), [3]
    name = fresh_name("depth")
    gauges.gauge(f"{name}_broken", "Text.", lambda: 1 // 0)
    gauges.gauge(name, "Text.", lambda: depth[0])
    gauges.gauge(f"{name}_by", "Text.", lambda: {("a", "b"): 1, ("a", "c"): 2}, ("x", "y"))
    gauges.counter(f"{name}_total", "Text.", lambda: True)
    assert {f"{name} 3.0", f'{name}_by{{x="a",y="c"}} 2.0', f"{name}_total 1.0"} <= set(read(gauges))
    depth[0] = 4
    assert f"{name} 4.0" in read(gauges)
    assert any(record.__dict__.get("metric") == f"{name}_broken" for record in caplog.records)


def test_readings_of_a_gauge_are_bounded_and_cleaned() -> None:
    gauges, name = ProcessGauges(), fresh_name("depth")
    gauges.gauge(name, "Text.", lambda: {(f"{number}",): 1 for number in range(2 * MAX_VALUES)}, ("x",))
    gauges.gauge(f"{name}_hostile", "Text.", lambda: {(value,): 1 for value in HOSTILE}, ("x",))
    shown = read(gauges)
    assert sum(line.startswith(f"{name}{{") for line in shown) == MAX_VALUES
    assert f'{name}_hostile{{x="{OTHER}"}} {len(HOSTILE)}.0' in shown
