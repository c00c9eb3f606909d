"""One provider key on its page: rotated, reverted, deleted and kept, and its name as text."""

import re
from typing import Final

from playwright.sync_api import Locator, Page, expect

from tests.ui.browser import PageOpener
from tests.ui.demo.people import OWNER, TENANT
from tests.ui.demo.seed import MARKUP
from tests.ui.demo.system import DemoSystem
from tests.ui.test_secrets import kept_by

KEYS: Final = f"/t/{TENANT}/keys"
_DOCUMENT: Final = """() => document.documentElement.outerHTML
    + [...document.querySelectorAll('input, textarea')].map((each) => each.value).join(' ')"""
_TEST_MS: Final = 30_000


def key_field(dialog: Locator) -> Locator:
    """Return the field for the key: a password field has no role."""
    return dialog.locator("input[name=provider-key]")


def assert_gone(page: Page, key: str) -> None:
    """Check that neither the document, with the values of its fields, nor the storage nor the address has the key."""
    assert key not in page.evaluate(_DOCUMENT)
    assert key not in kept_by(page)
    assert key not in page.url


def key_added_by_cli(demo: DemoSystem, label: str, *more: str) -> str:
    """Add a key of OpenAI at the command line. Return its id."""
    demo.add_key(TENANT, "openai", label, *more)
    return demo.key_ids[TENANT, label]


def test_a_rotation_is_watched_and_reverted_with_one_click(pages: PageOpener, demo: DemoSystem) -> None:
    key_id = key_added_by_cli(demo, "To rotate", "--priority", "900")
    before = demo.get(OWNER, f"/provider-keys/{key_id}").json()["masked"]
    key = demo.providers.issue_for("openai")
    observed = pages.open(f"{KEYS}/{key_id}?rotate=1")
    page = observed.page
    dialog = page.get_by_role("dialog", name=re.compile("Rotate"))
    key_field(dialog).fill(key)
    dialog.get_by_role("button", name="Test connection").click()
    expect(dialog.get_by_text("The key works")).to_be_visible(timeout=_TEST_MS)
    dialog.get_by_role("button", name="Switch to the new key").click()
    watch = page.get_by_role("region", name="Watching the new key")
    expect(watch).to_be_visible(timeout=_TEST_MS)
    expect(watch.get_by_text("No request has used the new key yet.")).to_be_visible()
    assert demo.get(OWNER, f"/provider-keys/{key_id}").json()["masked"] != before
    assert_gone(page, key)
    watch.get_by_role("button", name="Revert").click()
    expect(watch).to_have_count(0, timeout=_TEST_MS)
    assert demo.get(OWNER, f"/provider-keys/{key_id}").json()["masked"] == before


def test_the_deletion_of_an_unused_key_can_be_undone(pages: PageOpener, demo: DemoSystem) -> None:
    key_id = key_added_by_cli(demo, "Unused", "--priority", "901")
    observed = pages.open(f"{KEYS}/{key_id}")
    observed.page.get_by_role("button", name="Delete").click()
    dialog = observed.page.get_by_role("dialog", name=re.compile("Delete the key"))
    expect(dialog.get_by_text("No request used this key")).to_be_visible()
    dialog.get_by_role("button", name="Delete key").click()
    observed.page.get_by_role("button", name="Undo").click()
    expect(observed.page.get_by_role("button", name="Undo")).to_have_count(0)
    assert demo.get(OWNER, f"/provider-keys/{key_id}").status_code == 200


def test_a_name_with_markup_is_text(pages: PageOpener, demo: DemoSystem) -> None:
    key_id = key_added_by_cli(demo, MARKUP, "--priority", "902")
    observed = pages.open(KEYS)
    expect(observed.page.get_by_role("link", name=MARKUP)).to_be_visible()
    observed.open(f"{demo.console_url}{KEYS}/{key_id}")
    expect(observed.page.get_by_role("heading", level=1)).to_contain_text(MARKUP)
