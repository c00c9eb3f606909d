"""The page of alerts: a rule is tried, saved and restored; a channel is added, tested and deleted."""

import re

from playwright.sync_api import expect

from tests.support.waiting import until
from tests.ui.browser import PageOpener
from tests.ui.demo.people import OWNER, TENANT, VIEWER
from tests.ui.demo.system import DemoSystem

ADDRESS = "oncall@elsewhere.example"


def test_a_rule_is_tried_saved_and_deleted(pages: PageOpener, demo: DemoSystem) -> None:
    page = pages.open(f"/t/{TENANT}/alerts").page
    page.get_by_role("button", name="Add rule", exact=True).click()
    dialog = page.get_by_role("dialog", name="Add a rule")
    dialog.get_by_role("button", name="Add rule", exact=True).click()
    expect(dialog.get_by_text("Give it a name")).to_be_visible()
    dialog.get_by_role("textbox", name="Name").fill("Dear day")
    dialog.get_by_label("Window").select_option("day")
    dialog.get_by_label("Fires at or above, in US dollars").fill("0.000001")
    dialog.get_by_role("button", name="Try on the last 30 days").click()
    expect(dialog.get_by_text(re.compile(r"^It would have fired (once|\d+ times) in the last 30 days"))).to_be_visible(
        timeout=30_000
    )
    dialog.get_by_role("button", name="Add rule", exact=True).click()
    expect(page.get_by_text('The rule "Dear day" is saved.')).to_be_visible()
    row = page.get_by_role("row", name=re.compile("Dear day"))
    expect(row.get_by_text("Spend in a day is at least")).to_be_visible()
    until(
        "it is stored",
        lambda: "Dear day" in [each["name"] for each in demo.get(OWNER, "/alerts/rules").json()["rules"]],
    )
    row.get_by_role("button", name="Delete Dear day").click()
    page.get_by_role("button", name="Delete rule", exact=True).click()
    expect(page.get_by_text('The rule "Dear day" is deleted.')).to_be_visible()


def test_a_viewer_cannot_change_rules(pages: PageOpener) -> None:
    page = pages.open(f"/t/{TENANT}/alerts", VIEWER).page
    expect(page.get_by_role("button", name="Add rule", exact=True)).to_have_attribute("aria-disabled", "true")


def test_a_channel_says_whether_it_delivers(pages: PageOpener) -> None:
    page = pages.open(f"/t/{TENANT}/alerts").page
    page.get_by_role("button", name="Add channel", exact=True).click()
    dialog = page.get_by_role("dialog", name="Add a channel")
    dialog.get_by_role("textbox", name="Name").fill("On call")
    dialog.get_by_label("Addresses").fill(ADDRESS)
    dialog.get_by_role("button", name="Add channel", exact=True).click()
    row = page.get_by_role("row", name=re.compile("On call"))
    expect(row.get_by_text("Waits for confirmation")).to_be_visible()
    row.get_by_role("button", name="Test On call").click()
    expect(page.get_by_text(re.compile("^Not delivered: ")).first).to_be_visible(timeout=30_000)
    row.get_by_role("button", name="Delete On call").click()
    page.get_by_role("button", name="Delete channel", exact=True).click()
    expect(page.get_by_text('The channel "On call" is deleted.')).to_be_visible()


def test_a_rule_over_a_team_that_was_deleted_says_so(pages: PageOpener, demo: DemoSystem) -> None:
    demo.cli("teams", "create", "mayflies", "--tenant", TENANT)
    terms = ("--threshold", "1", "--window", "month", "--team", "mayflies", "--name", "Mayflies")
    rule = demo.ask_cli("alerts", "create", "requests", *terms, "--tenant", TENANT)
    demo.cli("teams", "delete", "mayflies", "--force", "--tenant", TENANT)
    page = pages.open(f"/t/{TENANT}/alerts").page
    row = page.get_by_role("row", name=re.compile("Mayflies"))
    expect(row.get_by_text("Watches nothing")).to_be_visible()
    expect(row.get_by_text("there is no team mayflies (any more)")).to_be_visible()
    expect(row.get_by_role("button", name="Edit Mayflies")).to_have_attribute("aria-disabled", "true")
    assert f"{rule['rule_id']}: there is no team mayflies" in demo.cli("alerts", "rules", "--tenant", TENANT)
    row.get_by_role("button", name="Delete Mayflies").click()
    page.get_by_role("button", name="Delete rule", exact=True).click()
    expect(page.get_by_text('The rule "Mayflies" is deleted.')).to_be_visible()
