"""The gauges of one service: figures that are read when somebody asks for them."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from keyferry.runtime.metrics.registry import MAX_VALUES, OTHER, is_plain

_log = logging.getLogger(__name__)

Readings = Mapping[tuple[str, ...], float]
"""A value for each combination of label values."""
Read = Callable[[], float | Readings]


class _Figure(NamedTuple):
    family: type[GaugeMetricFamily] | type[CounterMetricFamily]
    name: str
    text: str
    labels: Sequence[str]
    read: Read


class ProcessGauges(Collector):
    """Gauges, and counters that something else counts already."""

    def __init__(self) -> None:
        self._figures: list[_Figure] = []

    def gauge(self, name: str, text: str, read: Read, labels: Sequence[str] = ()) -> None:
        """Show what `read` returns: a number, or with labels one for each combination of their values."""
        self._figures.append(_Figure(GaugeMetricFamily, name, text, labels, read))

    def counter(self, name: str, text: str, read: Read, labels: Sequence[str] = ()) -> None:
        """Show a count that never falls, whose name ends with `_total`."""
        self._figures.append(_Figure(CounterMetricFamily, name, text, labels, read))

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield each figure as of now. One that cannot be read is left out, and does not hide the others."""
        for figure in self._figures:
            family = figure.family(figure.name, figure.text, labels=figure.labels)
            try:
                found = figure.read()
                for values, amount in _bound(found if isinstance(found, Mapping) else {(): found}):
                    family.add_metric(values, amount)
            except Exception:  # a defect in one figure must not blind an operator to all others
                _log.exception("a figure could not be read", extra={"metric": figure.name})
                continue
            yield family


def _bound(readings: Readings) -> list[tuple[tuple[str, ...], float]]:
    """Return at most so many readings, with label values that can be shown."""
    bounded: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for values, amount in readings.items():
        bounded[tuple(value if is_plain(value) else OTHER for value in values)] += amount
    return sorted(bounded.items())[:MAX_VALUES]
