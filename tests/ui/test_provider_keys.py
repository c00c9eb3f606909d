"""Provider keys in the console: each result of a test, what a deletion would do, and no trace of a key."""

import re
from collections.abc import Callable
from typing import Final

import pytest
from playwright.sync_api import Locator, Request, expect

from tests.support.providers.openai_double import Denial, out_of_money
from tests.support.waiting import until
from tests.ui.accessibility import violations
from tests.ui.browser import PageOpener
from tests.ui.demo.people import OWNER, TENANT, VIEWER
from tests.ui.demo.system import DemoSystem
from tests.ui.observed_page import ObservedPage
from tests.ui.test_secrets import kept_by, searcher_of

STEPS: Final = ("Reachable", "Key accepted", "Has credit", "A model answers")


def key_field(dialog: Locator) -> Locator:
    """Return the field for the key. Its label has a mark of a field that is required."""
    return dialog.get_by_label(re.compile(r"^Key\b"))


def open_dialog(pages: PageOpener) -> tuple[ObservedPage, Locator]:
    """Open the page of keys, and the dialog that adds one."""
    observed = pages.open(f"/t/{TENANT}/keys")
    observed.page.get_by_role("button", name="Add key").click()
    dialog = observed.page.get_by_role("dialog", name="Add a provider key")
    expect(key_field(dialog)).to_be_visible()
    return observed, dialog


def paste(dialog: Locator, key: str, label: str) -> None:
    """Type a key as if it was pasted, and a name."""
    key_field(dialog).fill(key)
    dialog.get_by_role("textbox", name="Name").fill(label)


def _issue(demo: DemoSystem, denial: Denial | None) -> str:
    return demo.providers.issue_for("openai", denial)


def _unknown(demo: DemoSystem) -> str:
    key = demo.providers.issue_for("openai")
    demo.providers.withdraw(key)
    return key


RESULTS: Final[dict[str, tuple[Callable[[DemoSystem], str], str]]] = {
    "valid": (lambda demo: _issue(demo, None), "The key works"),
    "no credit": (lambda demo: _issue(demo, out_of_money), "The provider accepts the key, but something is missing"),
    "invalid": (_unknown, "The provider does not accept the key"),
}


@pytest.mark.parametrize("result", RESULTS)
def test_the_test_of_a_key_shows_its_four_steps(result: str, pages: PageOpener, demo: DemoSystem) -> None:
    make_key, title = RESULTS[result]
    observed, dialog = open_dialog(pages)
    paste(dialog, make_key(demo), f"Tried, {result}")
    dialog.get_by_role("button", name="Test connection").click()
    expect(dialog.get_by_text(title, exact=True)).to_be_visible()
    expect(dialog.get_by_role("status").get_by_role("listitem")).to_have_count(len(STEPS))
    for step, line in zip(STEPS, dialog.get_by_role("status").get_by_role("listitem").all(), strict=True):
        expect(line).to_contain_text(step)
    found = violations(observed.page)
    assert not found, "\n".join(map(str, found))


def test_an_invalid_key_is_not_stored_and_a_valid_one_is(pages: PageOpener, demo: DemoSystem) -> None:
    observed, dialog = open_dialog(pages)
    observed.expect("status of 4|status 4")
    paste(dialog, _unknown(demo), "Refused")
    dialog.get_by_role("button", name="Add key").click()
    expect(dialog.get_by_role("alert").first).to_be_visible()
    paste(dialog, demo.providers.issue_for("openai"), "Added on the page")
    dialog.get_by_role("button", name="Add key").click()
    expect(dialog).to_have_count(0)
    stored = {key["label"]: key for key in demo.get(OWNER, "/provider-keys?limit=200").json()["data"]}
    assert "Refused" not in stored
    assert stored["Added on the page"]["status"] == "valid"
    demo.cli("keys", "rm", stored["Added on the page"]["key_id"], "--tenant", TENANT, "--yes")


def test_nothing_of_a_key_is_left_when_the_dialog_is_closed(pages: PageOpener, demo: DemoSystem) -> None:
    observed, dialog = open_dialog(pages)
    key = demo.providers.issue_for("openai")
    demo.secrets["provider key typed on the page"] = key
    sent: list[Request] = []
    observed.page.on("request", lambda each: sent.append(each))
    paste(dialog, key, "Typed and given up")
    dialog.get_by_role("button", name="Test connection").click()
    expect(dialog.get_by_text("The key works", exact=True)).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    searcher = searcher_of(demo)
    document = observed.page.evaluate(
        "() => document.documentElement.outerHTML + [...document.querySelectorAll('input')].map((one) => one.value)"
    )
    assert not searcher.found(document.encode())
    assert not searcher.found(kept_by(observed.page).encode())
    assert not searcher.found(observed.page.url.encode())
    for request in sent:
        assert not searcher.found(request.url.encode())
        answer = request.response()
        if answer is not None and request.resource_type == "fetch":
            assert not searcher.found(answer.body()), request.url
    observed.page.go_back()
    observed.settle()
    if dialog.count():
        expect(key_field(dialog)).to_have_value("")


def test_a_key_that_is_pasted_into_the_search_reaches_neither_address_nor_api(
    pages: PageOpener, demo: DemoSystem
) -> None:
    observed = pages.open(f"/t/{TENANT}/keys")
    sent: list[Request] = []
    observed.page.on("request", lambda each: sent.append(each))
    key = demo.providers.issue_for("openai")
    observed.page.get_by_role("searchbox", name="Search keys").fill(key)
    expect(observed.page.get_by_text("This looks like a key, so it was removed")).to_be_visible()
    observed.settle()
    assert key not in observed.page.url
    assert not [request.url for request in sent if key in request.url]


def test_a_key_in_use_is_deleted_only_with_its_name_typed(pages: PageOpener, demo: DemoSystem) -> None:
    demo.add_key(TENANT, "openai", "To be deleted", "--priority", "1")
    key_id = demo.key_ids[TENANT, "To be deleted"]
    operation = {"x-operation": "deleting"}

    def is_used() -> bool:
        demo.ask(TENANT, "gpt-4o-mini", "who pays for this?", headers=operation)
        used = demo.get(OWNER, f"/usage/breakdown?period=7d&by=operation&key={key_id}").json()
        return bool(used["total"]["requests"] > 0)

    until("requests use the key", is_used)
    observed = pages.open(f"/t/{TENANT}/keys")
    observed.page.get_by_role("button", name="Actions for To be deleted").click()
    observed.page.get_by_role("menuitem", name="Delete").click()
    dialog = observed.page.get_by_role("dialog", name=re.compile("Delete the key"))
    expect(dialog).to_contain_text(re.compile(r"1 operation and \d+ requests? in 7 days"))
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    button = dialog.get_by_role("button", name="Delete key")
    expect(button).to_be_disabled()
    dialog.get_by_role("textbox").fill("To be deleted")
    button.click()
    expect(dialog).to_have_count(0)
    expect(observed.page.get_by_text("To be deleted", exact=True)).to_have_count(0)
    assert key_id not in demo.get(OWNER, "/provider-keys?limit=200").text
    assert demo.ask(TENANT, "gpt-4o-mini", "another key pays", headers=operation).status_code == 200


def test_who_may_only_look_sees_why_nothing_can_be_changed(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}/keys", VIEWER)
    button = observed.page.get_by_role("button", name="Add key").first
    expect(button).to_have_attribute("aria-disabled", "true")
    reason = button.get_attribute("aria-describedby")
    expect(observed.page.locator(f"[id='{reason}']")).to_contain_text("Your role is viewer; this needs owner or admin")
    button.click(force=True)
    expect(observed.page.get_by_role("dialog")).to_have_count(0)
