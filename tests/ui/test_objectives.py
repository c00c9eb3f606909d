"""The page of objectives: what was measured of each, over which period, and what the page says about alerts."""

import re
from typing import Any, Final

from playwright.sync_api import Locator, Page, Route, expect

from keyferry.contracts.service_levels import ServiceLevelName
from tests.ui.accessibility import violations
from tests.ui.browser import THEMES, PageOpener, Theme
from tests.ui.demo.people import OPERATOR, OWNER, TENANT
from tests.ui.demo.system import DemoSystem

PAGE: Final = "/ops/objectives"
_API: Final = re.compile(r"/api/v1/ops/service-levels")
_BURNT: Final = 20_000
"""A burn rate in thousandths that pages somebody."""


def _row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=re.compile(f"^{name}")))


def _open(pages: PageOpener, demo: DemoSystem, answer: dict[str, Any], theme: Theme = "light") -> Page:
    """Open the page with an answer of the API that the demo system does not give."""
    context = pages.context(OPERATOR, theme=theme)

    def reply(route: Route) -> None:
        route.fulfill(json=answer)

    context.route(_API, reply)
    observed = pages.page(context)
    observed.open(f"{demo.console_url}{PAGE}")
    return observed.page


def test_every_objective_is_shown_as_the_api_has_it(pages: PageOpener, demo: DemoSystem) -> None:
    observed = pages.open(PAGE, OPERATOR)
    page = observed.page
    found = demo.get(OPERATOR, "/ops/service-levels").json()
    assert {level["name"] for level in found["levels"]} == {name.value for name in ServiceLevelName}
    for level in found["levels"]:
        row = _row(page, level["name"])
        expect(row).to_have_count(1)
        expect(row).to_contain_text(level["good_means"])
    expect(_row(page, "routing")).to_contain_text("99.9 %")
    expect(_row(page, "management")).to_contain_text("95.0 %")
    expect(_row(page, "management")).to_contain_text("within 100 ms")
    expect(page.get_by_role("link", name="Objectives")).to_have_attribute("aria-current", "page")


def test_the_period_is_in_the_address_and_is_what_is_asked_for(pages: PageOpener) -> None:
    observed = pages.open(PAGE, OPERATOR)
    page = observed.page
    with page.expect_request(lambda request: request.url.endswith("/service-levels?days=7")):
        page.get_by_text("7 days", exact=True).click()
    observed.settle()
    assert page.url.endswith(f"{PAGE}?days=7")
    expect(page.get_by_text(re.compile("^7 days until"))).to_be_visible()


def test_without_an_event_it_says_that_nothing_was_measured(pages: PageOpener, demo: DemoSystem) -> None:
    answer = demo.get(OPERATOR, "/ops/service-levels").json()
    answer["measured_since"] = None
    for level in answer["levels"]:
        level.update(good=0, bad=0, attained_ppm=None, met=None, budget_left_permille=None, alert=None)
        level["windows"] = [window | {"good": 0, "bad": 0, "burn_permille": 0} for window in level["windows"]]
    page = _open(pages, demo, answer)
    expect(page.get_by_role("heading", name="Nothing was measured in 30 days")).to_be_visible()
    expect(page.get_by_text("No objective was measured in this period.")).to_be_visible()
    expect(page.get_by_text("No events", exact=True)).to_have_count(len(ServiceLevelName))
    expect(page.get_by_role("progressbar")).to_have_count(0)


def test_an_alert_names_what_to_do_in_both_themes(pages: PageOpener, demo: DemoSystem) -> None:
    answer = demo.get(OPERATOR, "/ops/service-levels").json()
    level = next(each for each in answer["levels"] if each["name"] == "routing")
    level.update(good=980, bad=20, attained_ppm=980_000, met=False, budget_left_permille=-19_000, alert="page")
    level["windows"] = [window | {"good": 980, "bad": 20, "burn_permille": _BURNT} for window in level["windows"]]
    answer["measured_since"] = answer["since"]
    for theme in THEMES:
        page = _open(pages, demo, answer, theme)
        alert = page.get_by_role("alert").filter(has_text="The error budget of routing is spent too fast")
        expect(alert).to_contain_text("Act now")
        expect(alert).to_contain_text("docs/runbooks/error-budget-routing.md")
        row = _row(page, "routing")
        for shown in ("98.0 %", "Act now", "1,000", "-1900.0 %", "20.0"):
            expect(row).to_contain_text(shown)
        found = violations(page)
        assert not found, "\n".join(map(str, found))


def test_others_than_operators_cannot_open_it(pages: PageOpener, demo: DemoSystem) -> None:
    assert demo.get(OWNER, "/ops/service-levels").status_code == 403
    page = pages.open(f"/t/{TENANT}", OWNER).page
    expect(page.get_by_role("link", name="Objectives")).to_have_count(0)
