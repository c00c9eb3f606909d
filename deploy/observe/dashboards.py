"""The Grafana dashboards as code: panels with their queries, laid out in rows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.observe.console_links import BAR, VARIABLES, DashboardLink

_WIDTH, _HEIGHT = 24, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_SCHEMA_VERSION = 39
"""That of Grafana 10.4, which newer ones migrate by themselves."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph or number. `queries` maps each PromQL expression to its legend."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    description: str = ""
    kind: str = "timeseries"
    width: int = 8
    thresholds: tuple[tuple[str, float | None], ...] = (("green", None),)
    """Colours and the values from which on they hold."""
    link: DashboardLink | None = None
    """What a click on a series leads to."""

    def render(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Return Grafana's JSON of the panel at a place."""
        steps = [{"color": colour, "value": value} for colour, value in self.thresholds]
        defaults: dict[str, Any] = {"unit": self.unit, "thresholds": {"mode": "absolute", "steps": steps}}
        if self.kind == "timeseries":
            defaults["custom"] = {"fillOpacity": 8, "showPoints": "never", "lineWidth": 1}
        if self.link is not None:
            defaults["links"] = [self.link.render()]
        targets = [
            {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend, "datasource": _SOURCE}
            for index, (expression, legend) in enumerate(self.queries.items())
        ]
        return {
            "id": number,
            "title": self.title,
            "description": self.description,
            "type": self.kind,
            "datasource": _SOURCE,
            "gridPos": {"h": _HEIGHT if self.kind == "timeseries" else _HEIGHT // 2, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "targets": targets,
        }


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard: rows of panels, each row with a title."""

    uid: str
    title: str
    description: str
    rows: dict[str, Sequence[Panel]] = field(default_factory=dict)

    @property
    def panels(self) -> list[Panel]:
        """All panels."""
        return [panel for row in self.rows.values() for panel in row]

    def render(self) -> dict[str, Any]:
        """Return Grafana's JSON."""
        rendered: list[dict[str, Any]] = []
        y = 0
        for title, panels in self.rows.items():
            place = {"h": 1, "w": _WIDTH, "x": 0, "y": y}
            row = {"id": len(rendered) + 1, "title": title, "type": "row", "collapsed": False, "panels": []}
            rendered.append(row | {"gridPos": place})
            x, y, tallest = 0, y + 1, 0
            for panel in panels:
                if x + panel.width > _WIDTH:
                    x, y, tallest = 0, y + tallest, 0
                rendered.append(shown := panel.render(len(rendered) + 1, x, y))
                x, tallest = x + panel.width, max(tallest, shown["gridPos"]["h"])
            y += tallest
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["keyferry"],
            "schemaVersion": _SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "timezone": "browser",
            "time": {"from": "now-6h", "to": "now"},
            "refresh": "30s",
            "templating": {"list": [_DATASOURCE_CHOICE, *VARIABLES]},
            "links": [_OTHER_DASHBOARDS, *(link.render_for_dashboard() for link in BAR)],
            "annotations": {"list": [_ALERT_MARKS]},
            "panels": rendered,
        }


_DATASOURCE_CHOICE = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
_OTHER_DASHBOARDS = {
    "title": "Keyferry",
    "type": "dashboards",
    "tags": ["keyferry"],
    "asDropdown": True,
    "keepTime": True,
}
_ALERT_MARKS = {
    "name": "Alerts",
    "enable": True,
    "datasource": _SOURCE,
    "expr": 'ALERTS{alertname=~"Keyferry.*", alertstate="firing"}',
    "titleFormat": "{{alertname}}",
    "iconColor": "red",
}
