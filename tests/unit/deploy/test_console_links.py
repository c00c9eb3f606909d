"""The links of dashboards lead to pages that the console has, with parameters that these pages read."""

import re

import pytest

from deploy.observe.console_links import BAR
from deploy.observe.dashboard_contents import DASHBOARDS
from deploy.observe.dashboards import Dashboard
from tests.support.repository.files import ROOT

_PAGES = ROOT / "services" / "console" / "web" / "src"
_VARIABLE = re.compile(r"\$\{(\w+)[.:}]")
_SEARCHES = {
    "/ops/objectives": ("ops-objectives/page.tsx", "SEARCH"),
    "/ops/services": None,
    "/ops/dead-letters": None,
    "/ops/health": ("ops-health/page.tsx", "SEARCH"),
    "/t/$tenant/requests": ("requests/filters.ts", "REQUEST_SEARCH"),
}
"""By path the source and the constant in which the page declares the parameters of its address."""


def _parameters(path: str) -> set[str]:
    if (declared := _SEARCHES[path]) is None:
        return set()
    source, constant = declared
    found = re.search(rf"const {constant} = \{{(.*?)\}};", (_PAGES / "pages" / source).read_text(), re.DOTALL)
    assert found is not None, source
    return set(re.findall(r"(?:^|[{,])\s*(\w+): ", found[1], re.MULTILINE))


def _urls(dashboard: Dashboard) -> list[str]:
    rendered = dashboard.render()
    found = [each["url"] for each in rendered["links"] if each["type"] == "link"]
    for panel in rendered["panels"]:
        found += [each["url"] for each in panel.get("fieldConfig", {}).get("defaults", {}).get("links", ())]
    return found


@pytest.mark.parametrize("path", _SEARCHES)
def test_a_page_that_is_linked_to_has_a_route(path: str) -> None:
    routes = (_PAGES / "routes.tsx").read_text()
    table = "OPERATOR_PAGES" if path.startswith("/ops/") else "TENANT_PAGES"
    name = path.rpartition("/")[2]
    assert re.search(rf'{table}\b[^;]*?\n  "?{name}"?: \(\) =>', routes)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_a_link_has_only_parameters_and_variables_that_there_are(dashboard: Dashboard) -> None:
    known = {each["name"] for each in dashboard.render()["templating"]["list"]} | {"__from", "__to", "__field"}
    urls = _urls(dashboard)
    assert len(urls) > len(BAR)
    for url in urls:
        assert url.startswith("${console:raw}/")
        assert set(_VARIABLE.findall(url)) <= known, url
        path, _, query = url.removeprefix("${console:raw}").partition("?")
        given = {part.partition("=")[0] for part in query.split("&") if part}
        assert given <= _parameters(path.replace("${tenant:percentencode}", "$tenant")), url


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_a_link_uses_labels_that_the_series_of_its_panel_have(dashboard: Dashboard) -> None:
    linked = {panel.title: panel for panel in dashboard.panels if panel.link is not None}
    assert linked
    for title, panel in linked.items():
        assert panel.link is not None
        labels = set(re.findall(r"__field\.labels\.(\w+)", panel.link.url))
        for legend in panel.queries.values():
            assert labels <= set(re.findall(r"\{\{(\w+)\}\}", legend)), title
