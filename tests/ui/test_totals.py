"""Totals on the page: the same in every zone and on days with a change of the clocks, and equal to CSV, command line and list."""

import csv
import io
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from keyferry.contracts.access_role import AccessRole
from tests.ui.browser import PageOpener
from tests.ui.demo.history import Account, make_history, record_history
from tests.ui.demo.people import Person
from tests.ui.demo.system import DemoSystem, in_thread

ZONES: Final = ("Pacific/Auckland", "Asia/Kathmandu", "Europe/Berlin", "UTC", "America/Los_Angeles")
SPANS: Final = {
    "clocks back in Europe": ("2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z"),
    "clocks back in America": ("2026-10-31T00:00:00Z", "2026-11-03T00:00:00Z"),
    "two weeks": ("2026-10-20T00:00:00Z", "2026-11-03T00:00:00Z"),
}
TENANT: Final = "wayne"
_CELLS: Final = "(table) => [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent))"
ACCOUNTANT: Final = Person("lucius@wayne.example", AccessRole.OWNER, TENANT)


@pytest.fixture(scope="module", autouse=True)
def _past(demo: DemoSystem) -> None:
    """Record two weeks around the changes of the clocks, for a tenant of its own."""
    demo.add_tenant(TENANT, "Wayne", keys="own")
    demo.add_token(TENANT, "Ledger")
    account = Account(TENANT, demo.token_ids[TENANT], {"openai": "key_1", "mistral": "key_2", "anthropic": "key_3"}, {})
    past = make_history(account, days=14, per_day=60, now=datetime(2026, 11, 3, 9, tzinfo=UTC))
    in_thread(lambda: record_history(demo.system.home, past, datetime.now(UTC)))


def _tile(page: Page, label: str) -> str:
    """Return the exact value of a figure of the page."""
    tile = page.get_by_role("group", name=label, exact=True)
    title = tile.locator("[title]").first.get_attribute("title")
    assert title is not None, f"{label} has no exact value"
    return title


def _number(text: str) -> Decimal:
    return Decimal(re.sub(r"[^0-9.]", "", text))


def _sum_of_table(page: Page) -> Decimal:
    """Return the sum of what the bars show, read from the table below them, which is the first while it is open."""
    page.get_by_role("button", name="Show as table").first.click()
    expect(page.get_by_role("button", name="Hide table")).to_have_count(1)
    # At once: an event may bring new data between two questions to the page.
    heads, *rows = page.get_by_role("table").first.evaluate(_CELLS)
    assert heads[-1] == "Total", heads
    return sum((_number(row[-1]) for row in rows), Decimal(0))


def _csv_sums(text: str) -> dict[str, Decimal]:
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["row"] != "total"]
    assert rows
    return {
        "spend": sum((Decimal(row["spend_micro_usd"] or 0) for row in rows), Decimal(0)),
        "requests": sum((Decimal(row["requests"]) for row in rows), Decimal(0)),
    }


def _totals_of_page(pages: PageOpener, since: str, until: str, zone: str) -> tuple[Decimal, Decimal, Decimal]:
    """Return requests and dollars as the page of usage shows them to somebody in a zone, and the requests in its bars."""
    observed = pages.open(f"/t/{TENANT}/usage?since={since}&until={until}&show=requests", ACCOUNTANT, time_zone=zone)
    page = observed.page
    return _number(_tile(page, "Requests")), _number(_tile(page, "Spend")), _sum_of_table(page)


@pytest.mark.parametrize("span", SPANS)
def test_totals_are_the_same_in_every_zone_of_viewer_and_bill(span: str, pages: PageOpener, demo: DemoSystem) -> None:
    since, until = SPANS[span]
    found = set()
    for billing_zone in ZONES:
        demo.cli("tenants", "set", TENANT, "--time-zone", billing_zone)
        viewer_zone = ZONES[-1 - ZONES.index(billing_zone)]
        found.add(_totals_of_page(pages, since, until, viewer_zone))
    demo.cli("tenants", "set", TENANT, "--time-zone", "UTC")
    assert len(found) == 1, found
    requests, spend, in_bars = found.pop()
    assert requests > 50
    assert requests == in_bars
    answer = demo.get(ACCOUNTANT, f"/usage/breakdown?since={since}&until={until}&by=model&limit=500&format=csv")
    sums = _csv_sums(answer.text)
    assert (sums["requests"], sums["spend"] / 1_000_000) == (requests, spend)
    shown: dict[str, Any] = json.loads(
        demo.cli("usage", "--tenant", TENANT, "--since", since, "--until", until, "--by", "model", "--json")
    )
    assert shown["total"]["requests"] == requests
    assert Decimal(shown["total"]["spend_micro_usd"]) / 1_000_000 == spend


def test_each_number_leads_to_the_requests_that_add_up_to_it(pages: PageOpener, demo: DemoSystem) -> None:
    since, until = SPANS["clocks back in Europe"]
    observed = pages.open(f"/t/{TENANT}/usage?since={since}&until={until}", ACCOUNTANT)
    requests = _number(_tile(observed.page, "Requests"))
    observed.page.get_by_role("group", name="Requests", exact=True).get_by_role("link").click()
    observed.page.wait_for_url(re.compile("/requests"))
    observed.settle()
    expect(observed.page.get_by_role("heading", level=1, name="Requests")).to_be_visible()
    listed = 0
    after = ""
    while True:
        page = demo.get(ACCOUNTANT, f"/requests?since={since}&until={until}&limit=200{after}").json()
        # A refused request has no attempt, and counts nowhere in usage.
        listed += sum(each["outcome"] != "refused" for each in page["data"])
        if not page["next"]:
            break
        after = f"&after={page['next']}"
    assert listed == requests


def test_a_filtered_view_is_the_same_after_a_reload_and_for_somebody_else(pages: PageOpener) -> None:
    since, until = SPANS["two weeks"]
    observed = pages.open(f"/t/{TENANT}/usage?since={since}&until={until}&by=operation&provider=openai", ACCOUNTANT)
    address, before = observed.page.url, _tile(observed.page, "Requests")
    observed.page.reload()
    observed.wait_until_ready()
    assert (observed.page.url, _tile(observed.page, "Requests")) == (address, before)
    shared = pages.page(pages.context(ACCOUNTANT))
    shared.open(address)
    assert _tile(shared.page, "Requests") == before
