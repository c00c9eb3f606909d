"""The figures that every process has: its build, its state, its connections and what waits for it on the bus."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Protocol

from keyferry.runtime.metrics.connection_pools import POOLS
from keyferry.runtime.metrics.gauges import ProcessGauges, Readings
from keyferry.runtime.tls.context import ReloadingContext

_NOT_KEPT = frozenset({"over_budget", "dropped"})


class MeasuredBus(Protocol):
    """What is counted of a process's connection."""

    reconnects: int
    certificates: dict[str, ReloadingContext]

    @property
    def connected(self) -> bool:
        """Whether the connection is up now."""


class MeasuredConsumers(Protocol):
    """What is counted of the consumers that a process pulls, by stream and consumer."""

    pending: dict[tuple[str, ...], float]
    unacknowledged: dict[tuple[str, ...], float]


class MeasuredTelemetry(Protocol):
    """What is counted of a process's spans."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Kept traces by their reasons, and `over_budget` and `dropped`, which are no reasons."""


class MeasuredProcess(Protocol):
    """What is counted of a process."""

    draining: bool

    @property
    def telemetry(self) -> MeasuredTelemetry:
        """Its spans."""

    @property
    def ready(self) -> bool:
        """Whether it should receive requests."""

    def notes(self) -> Sequence[str]:
        """Return what an operator should attend to."""


def register_figures(
    gauges: ProcessGauges, process: MeasuredProcess, bus: MeasuredBus, consumers: MeasuredConsumers
) -> None:
    """Register the figures that every process has."""
    build: Readings = {(version("keyferry"),): 1}
    for name, text, read in (
        ("keyferry_process_ready", "Whether the process should receive requests.", lambda: process.ready),
        ("keyferry_process_draining", "Whether the process only finishes what it has.", lambda: process.draining),
        (
            "keyferry_process_degraded",
            "Notes for the operator, as `keyferry status` shows them.",
            lambda: len(process.notes()),
        ),
        ("keyferry_bus_connected", "Whether the connection to NATS is up.", lambda: bus.connected),
    ):
        gauges.gauge(name, text, read)
    gauges.gauge("keyferry_build_info", "The build of the process.", lambda: build, ("version",))
    gauges.counter(
        "keyferry_bus_reconnects_total", "Times that the connection to NATS came back.", lambda: bus.reconnects
    )
    consumer = ("stream", "consumer")
    gauges.gauge(
        "keyferry_consumer_pending",
        "Messages that the consumer has not delivered yet.",
        lambda: consumers.pending,
        consumer,
    )
    gauges.gauge(
        "keyferry_consumer_ack_pending",
        "Messages that were delivered and are not acknowledged.",
        lambda: consumers.unacknowledged,
        consumer,
    )
    gauges.gauge(
        "keyferry_certificate_expiry_seconds",
        "Seconds until the process's own certificate ends; below 0 it has ended.",
        lambda: _seconds_left(bus.certificates),
        ("use",),
    )
    _register_traces(gauges, process.telemetry)
    gauges.gauge(
        "keyferry_database_connections",
        "Connections of the process to PostgreSQL.",
        POOLS.readings,
        ("state",),
    )


def _seconds_left(certificates: Mapping[str, ReloadingContext]) -> Readings:
    now = datetime.now(UTC)
    ends = {use: context.expires_at for use, context in certificates.items()}
    return {(use,): (end - now).total_seconds() for use, end in ends.items() if end is not None}


def _register_traces(gauges: ProcessGauges, telemetry: MeasuredTelemetry) -> None:
    def kept() -> Readings:
        return {(reason,): count for reason, count in telemetry.counts.items() if reason not in _NOT_KEPT}

    gauges.counter(
        "keyferry_traces_kept_total", "Traces that this process had stored, by the reason.", kept, ("reason",)
    )
    gauges.counter(
        "keyferry_traces_over_budget_total",
        "Traces worth a look that were not stored: more than KEYFERRY_TRACE_MAX_PER_SECOND.",
        lambda: telemetry.counts["over_budget"],
    )
    gauges.counter(
        "keyferry_spans_dropped_total",
        "Spans of stored traces that were lost because there were too many or the bus was away.",
        lambda: telemetry.counts["dropped"],
    )
