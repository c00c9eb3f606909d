"""Figures of usage by quarter hour, added up over a window: one quarter hour that changes costs one addition.

What is recorded late changes an older quarter hour: all quarter hours from that one on are then read and replaced. A sum that
was kept so is the one that all of them would give. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from keyferry.contracts.alert_metrics import AlertMetric
from keyferry.contracts.credit import MICRO
from keyferry.latency.sketch import LatencySketch
from services.usage_ledger.analytics.periods import QuarterSpan


@dataclass(slots=True)
class WatchedUsage:
    """What was used: counts, micro-dollars, and how many attempts took how long by bucket of a sketch."""

    requests: int = 0
    tokens: int = 0
    spend_micro_usd: int = 0
    attempts: int = 0
    failed: int = 0
    latencies: dict[int, int] = field(default_factory=dict)

    def add(self, other: "WatchedUsage", sign: int = 1) -> None:
        """Add what was used besides, or take it away."""
        self.requests += sign * other.requests
        self.tokens += sign * other.tokens
        self.spend_micro_usd += sign * other.spend_micro_usd
        self.attempts += sign * other.attempts
        self.failed += sign * other.failed
        for bucket, number in other.latencies.items():
            left = self.latencies.get(bucket, 0) + sign * number
            if left:
                self.latencies[bucket] = left
            else:
                self.latencies.pop(bucket, None)

    def measure(self, metric: AlertMetric) -> Decimal | None:
        """Return the figure of a metric in its unit; None if there is none."""
        match metric:
            case AlertMetric.SPEND:
                return Decimal(self.spend_micro_usd) / MICRO
            case AlertMetric.TOKENS:
                return Decimal(self.tokens)
            case AlertMetric.FAILED_PERCENT:
                return round(Decimal(100 * self.failed) / self.attempts, 2) if self.attempts else None
            case AlertMetric.LATENCY_P95:
                found = LatencySketch(self.latencies).percentile(95)
                return None if found is None else Decimal(found)
            case _:
                return Decimal(self.requests)


class WatchedSeries:
    """The usage of one rule and subject by quarter hour, and its sum over the rule's window."""

    __slots__ = ("_cells", "_span", "_total")

    def __init__(self) -> None:
        self._cells: dict[int, WatchedUsage] = {}
        self._span: QuarterSpan | None = None
        self._total = WatchedUsage()

    def replace(self, since: int, cells: Mapping[int, WatchedUsage]) -> None:
        """Forget the quarter hours from `since` on, and take these instead."""
        for quarter in [quarter for quarter in self._cells if quarter >= since]:
            gone = self._cells.pop(quarter)
            if self._is_inside(quarter):
                self._total.add(gone, -1)
        for quarter, cell in cells.items():
            self._cells[quarter] = cell
            if self._is_inside(quarter):
                self._total.add(cell)

    def total(self, span: QuarterSpan) -> WatchedUsage:
        """Return the sum over a window. Windows only move on: what is before this one is forgotten."""
        if span != self._span:
            self._span = span
            self._cells = {quarter: cell for quarter, cell in self._cells.items() if quarter >= span.since}
            self._total = WatchedUsage()
            for quarter, cell in self._cells.items():
                if quarter < span.until:
                    self._total.add(cell)
        return self._total

    @property
    def is_empty(self) -> bool:
        """Whether nothing was used in the window or since."""
        return not self._cells

    def _is_inside(self, quarter: int) -> bool:
        return self._span is not None and self._span.since <= quarter < self._span.until
