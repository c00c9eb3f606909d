"""The counters and histograms of a process: module-level objects, of which each service has its own in `metrics.py`.

The number of time series is bounded whatever the label values are: a value that is not short, plain text, or one too many for its
label, counts as `other`. What identifies a tenant, a key or a request is never a label.
"""

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.registry import Collector

MAX_VALUES = 100
"""Distinct values of one label of one metric; as many providers fit beside the built-in ones as an operator would add."""
MAX_SERIES = 2000
"""Of one metric, in which every label has `other` after that."""
OTHER = "other"

_PLAIN = re.compile(r"[ -~]{0,128}")

# Prometheus does not read the `_created` series by default, of which each counter and histogram would have one.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry(auto_describe=False)
ProcessCollector(registry=REGISTRY)

M = TypeVar("M", Counter, Histogram)


def is_plain(value: str) -> bool:
    """Return whether a label value can be shown as it is: short, printable ASCII."""
    return _PLAIN.fullmatch(value) is not None


class _Series(Generic[M]):
    """The time series of one metric by their label values."""

    counting: ClassVar[bool] = True

    def __init__(self, metric: M, labels: Sequence[str], max_values: int) -> None:
        self._metric: M = metric
        self._max_values = max_values
        self._values: tuple[set[str], ...] = tuple(set() for _ in labels)
        self._known: dict[tuple[str, ...], M] = {} if labels else {(): metric}

    def get(self, values: tuple[str, ...]) -> M:
        """Return the series of these values. The client's own look-up takes three times as long as this one."""
        found = self._known.get(values)
        return found if found is not None else self._add(values)

    def _add(self, values: tuple[str, ...]) -> M:
        if len(values) != len(self._values):
            raise ValueError(f"{len(values)} values for {len(self._values)} labels")
        bounded = tuple(self._bound(value, known) for value, known in zip(values, self._values, strict=True))
        if len(self._known) >= MAX_SERIES and bounded not in self._known:
            bounded = (OTHER,) * len(values)
        found = self._known.get(bounded)
        if found is None:
            # Under the bounded values alone: what strangers send must not fill the memory here either.
            found = self._known[bounded] = self._metric.labels(*bounded)
        return found

    def _bound(self, value: str, known: set[str]) -> str:
        if value in known:
            return value
        if len(known) >= self._max_values or not is_plain(value):
            return OTHER
        known.add(value)
        return value


class BoundedCounter:
    """A counter. Its name ends with `_total`.

    `preset` lists label values that are known beforehand: their series start with 0, since a rate cannot see the first event of a
    series that begins with it.
    """

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        preset: Iterable[tuple[str, ...]] = (),
        max_values: int = MAX_VALUES,
    ) -> None:
        self._series = _Series(Counter(name, text, labels, registry=REGISTRY), labels, max_values)
        for values in preset:
            self._series.get(values)

    def inc(self, *values: str, by: int = 1) -> None:
        """Add `by` to the series of these label values, in the order of the labels."""
        if _Series.counting:
            self._series.get(values).inc(by)


class BoundedHistogram:
    """A histogram with fixed buckets, whose unit the name ends with."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        max_values: int = MAX_VALUES,
    ) -> None:
        metric = Histogram(name, text, labels, registry=REGISTRY, buckets=buckets)
        self._series = _Series(metric, labels, max_values)

    def observe(self, amount: float, *values: str) -> None:
        """Add one observation to the series of these label values."""
        if _Series.counting:
            self._series.get(values).observe(amount)


def stop_counting() -> None:
    """Leave all counters and histograms of this process as they are: nobody can read them."""
    _Series.counting = False


class EveryMetric(Collector):
    """What a process shows: its counters and histograms, and then what `others` collect."""

    def __init__(self, *others: Collector) -> None:
        self._collectors = (REGISTRY, *others)

    def collect(self) -> Iterable[object]:  # type: ignore[override]
        """Yield each metric with its samples."""
        for collector in self._collectors:
            yield from collector.collect()
