"""Client tokens on their page: a secret is shown once, and works."""

import re
from typing import Final

from playwright.sync_api import expect

from tests.support.waiting import until
from tests.ui.browser import PageOpener
from tests.ui.demo.people import DEVELOPER, OWNER, TENANT
from tests.ui.demo.seed import MARKUP
from tests.ui.demo.system import DemoSystem
from tests.ui.test_key_pages import assert_gone

TOKENS: Final = f"/t/{TENANT}/tokens"
_TOKEN = re.compile(r"kf_live_[0-9A-Za-z]{46}")
_ARRIVAL_MS: Final = 15_000


def test_a_new_token_is_shown_once_and_works(pages: PageOpener, demo: DemoSystem) -> None:
    observed = pages.open(TOKENS)
    page = observed.page
    page.get_by_role("button", name="Create token").first.click()
    dialog = page.get_by_role("dialog", name="Create a client token")
    dialog.get_by_role("textbox", name="Name", exact=True).fill("Made on the page")
    dialog.get_by_role("button", name="Create token").click()
    shown = page.get_by_role("dialog", name=re.compile("Made on the page"))
    token = shown.get_by_test_id("new-token").inner_text()
    assert _TOKEN.fullmatch(token)
    for language in ("curl", "Python", ".env"):
        shown.get_by_role("tab", name=language).click()
        expect(shown.get_by_role("region", name=language)).to_contain_text(token)
    page.keyboard.press("Escape")
    expect(shown).to_be_visible()
    shown.get_by_role("button", name="I have stored it").click()
    expect(shown).to_have_count(0)
    assert_gone(page, token)
    row = page.get_by_role("row").filter(has_text="Made on the page")
    expect(row).to_contain_text(token[-4:])
    _until_accepted(demo, token)
    row.get_by_role("button", name="Actions for Made on the page").click()
    page.get_by_role("menuitem", name="Disable").click()
    expect(row.get_by_text("Disabled")).to_be_visible()
    until("the gateway refuses it", lambda: demo.ask(TENANT, "echo", "hello", token=token).status_code in (401, 403))
    row.get_by_role("button", name="Actions for Made on the page").click()
    page.get_by_role("menuitem", name="Enable").click()
    expect(row.get_by_text("Active")).to_be_visible()


def test_tokens_are_searched_by_the_api(pages: PageOpener) -> None:
    observed = pages.open(TOKENS)
    expect(observed.page.get_by_role("row").filter(has_text=MARKUP)).to_have_count(1)
    observed.page.get_by_label("Search tokens").fill("inbox")
    expect(observed.page.get_by_role("row").filter(has_text=MARKUP)).to_have_count(0)
    expect(observed.page.get_by_role("row").filter(has_text="Support inbox")).to_have_count(1)
    observed.open(f"{pages.demo.console_url}{TOKENS}?state=revoked")
    expect(observed.page.get_by_role("row").filter(has_text="Old laptop")).to_have_count(1)
    expect(observed.page.get_by_role("row").filter(has_text="Support inbox")).to_have_count(0)


def test_a_rotated_token_works_beside_its_old_secret_until_the_overlap_is_ended(
    pages: PageOpener, demo: DemoSystem
) -> None:
    old = demo.add_token(TENANT, "To replace")
    observed = pages.open(f"{TOKENS}?q=To+replace")
    page = observed.page
    actions = page.get_by_role("button", name="Actions for To replace")
    actions.click()
    page.get_by_role("menuitem", name="Rotate").click()
    page.get_by_role("button", name="Rotate token").click()
    new = page.get_by_test_id("new-token").inner_text()
    page.get_by_role("button", name="I have stored it").click()
    assert_gone(page, new)
    for token in (new, old):
        _until_accepted(demo, token)
    actions.click()
    page.get_by_role("menuitem", name="End the overlap").click()
    until("the old one is refused", lambda: demo.ask(TENANT, "echo", "hello", token=old).status_code == 401)
    assert demo.ask(TENANT, "echo", "hello", token=new).status_code == 200


def _until_accepted(demo: DemoSystem, token: str) -> None:
    until("the token is accepted", lambda: demo.ask(TENANT, "echo", "hello", token=token).status_code == 200)


def test_a_developer_sees_only_own_tokens(pages: PageOpener, demo: DemoSystem) -> None:
    observed = pages.open(TOKENS, DEVELOPER)
    observed.page.get_by_role("button", name="Create token").first.click()
    dialog = observed.page.get_by_role("dialog", name="Create a client token")
    dialog.get_by_role("textbox", name="Name", exact=True).fill("Of the developer")
    dialog.get_by_role("button", name="Create token").click()
    observed.page.get_by_role("button", name="I have stored it").click()
    expect(observed.page.get_by_role("row").filter(has_text="Of the developer")).to_have_count(1)
    expect(observed.page.get_by_role("row").filter(has_text="Support inbox")).to_have_count(0)
    assert "Of the developer" in demo.get(OWNER, "/client-tokens?order=newest").text
