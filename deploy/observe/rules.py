"""Prometheus rules: what an alert and a recorded series are, and those that are computed for others. Pure."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from keyferry.contracts.service_levels import OBJECTIVES, PERMILLE, WINDOWS, ServiceLevelName, Severity

EVENTS = "keyferry_service_level_events_total"
RUNBOOKS = "docs/runbooks"
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A series that is computed every so often, for dashboards and alerts."""

    name: str
    expression: str

    def render(self) -> dict[str, Any]:
        """Return it as Prometheus reads it."""
        return {"record": self.name, "expr": self.expression}


@dataclass(frozen=True, slots=True)
class PrometheusAlert:
    """A condition under which a person has to act. `summary` and `description` may use Prometheus's templates."""

    name: str
    expression: str
    severity: Severity
    summary: str
    description: str
    lasting: timedelta = timedelta(0)
    """How long the condition has to hold."""
    runbook: str = ""
    """The page, if several alerts share one; else it has the alert's name."""

    @property
    def page(self) -> str:
        """The name of its runbook, without the suffix."""
        return self.runbook or _CAPITAL.sub("-", self.name.removeprefix("Keyferry")).lower()

    def render(self) -> dict[str, Any]:
        """Return it as Prometheus reads it."""
        held = {"for": format_span(self.lasting)} if self.lasting else {}
        return {
            "alert": self.name,
            "expr": self.expression,
            **held,
            "labels": {"severity": self.severity.value},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}/{self.page}.md",
            },
        }


def format_span(span: timedelta) -> str:
    """Return a span in Prometheus's form, in its largest unit: `5m`, `6h`, `3d`."""
    seconds = int(span.total_seconds())
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds % unit == 0:
            return f"{seconds // unit}{name}"
    return f"{seconds}s"


def bad_ratio(window: timedelta) -> str:
    """Return the name of the series with the share of bad events in a window."""
    return f"keyferry:service_level_bad:ratio_rate{format_span(window)}"


def bad_events(window: timedelta) -> str:
    """Return the name of the series with the number of bad events in a window."""
    return f"keyferry:service_level_bad:increase{format_span(window)}"


def burn_recordings(long_windows: frozenset[timedelta]) -> list[RecordingRule]:
    """Return the shares of bad events in every window, and in the long ones of each burn rate their numbers."""
    bad = EVENTS + '{result="bad"}'
    shares = [
        RecordingRule(
            bad_ratio(window),
            f"sum by (level) (rate({bad}[{format_span(window)}])) / sum by (level) (rate({EVENTS}[{format_span(window)}]))",
        )
        for window in WINDOWS
    ]
    numbers = [
        RecordingRule(bad_events(window), f"sum by (level) (increase({bad}[{format_span(window)}]))")
        for window in sorted(long_windows)
    ]
    return [*shares, *numbers]


def budget_of(name: ServiceLevelName) -> str:
    """Return the error budget of a level as a share: `0.001`."""
    return f"{(PERMILLE - OBJECTIVES[name].target_permille) / PERMILLE:g}"
