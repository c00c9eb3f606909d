"""Links from dashboards to the console's pages. Pure.

Figures name no tenant and no request, so a link cannot lead to one trace. It leads to the requests of the tenant that is chosen
in the dashboard, in its span of time and with the filter that the figure has; each of them has a link to its trace.
"""

from dataclasses import dataclass, field
from typing import Any

_CONSOLE, _TENANT = "${console:raw}", "${tenant:percentencode}"
"""`raw`: Grafana would encode an address within an address."""
_SPAN = {"since": "${__from:date:iso}", "until": "${__to:date:iso}"}
"""The dashboard's, as the console's addresses have times."""


@dataclass(frozen=True, slots=True)
class DashboardLink:
    """A page of the console. The path may have Grafana's variables in it, and the values of parameters may be such."""

    title: str
    path: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The address, for Grafana to fill in."""
        query = "&".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{_CONSOLE}{self.path}" + (f"?{query}" if query else "")

    def render(self) -> dict[str, Any]:
        """Return Grafana's JSON of a data link: of what is clicked in a panel."""
        return {"title": self.title, "url": self.url, "targetBlank": True}

    def render_for_dashboard(self) -> dict[str, Any]:
        """Return Grafana's JSON of a link above all panels."""
        return {"type": "link", "icon": "external link", "tags": [], "tooltip": ""} | self.render()


def label(name: str) -> str:
    """Return the variable with the value that the clicked series has of a label."""
    return f"${{__field.labels.{name}:percentencode}}"


def requests(title: str, **filters: str) -> DashboardLink:
    """Return the link to the requests of the chosen tenant, in the dashboard's span of time."""
    return DashboardLink(title, f"/t/{_TENANT}/requests", _SPAN | filters)


OBJECTIVES_PAGE = DashboardLink("Objectives in the console", "/ops/objectives")
SERVICES_PAGE = DashboardLink("Services in the console", "/ops/services")
DEAD_LETTERS_PAGE = DashboardLink("Dead letters in the console", "/ops/dead-letters")
PROVIDER_HEALTH_PAGE = DashboardLink("Health of this provider", "/ops/health", {"provider": label("provider")})
BAR = (OBJECTIVES_PAGE, SERVICES_PAGE, requests("Failed requests of the tenant", outcome="failed"))
"""Above the panels of every dashboard."""


def _text_box(name: str, caption: str, value: str) -> dict[str, Any]:
    current = {"text": value, "value": value}
    return {
        "name": name,
        "label": caption,
        "type": "textbox",
        "query": value,
        "current": current,
        "options": [{"selected": True, **current}],
    }


VARIABLES = (
    _text_box("console", "Console", "http://127.0.0.1:8401"),
    _text_box("tenant", "Tenant of linked requests", "demo"),
)
"""What links need to know, which no figure says; the values are those of `make up`."""
