"""Rules, preferences, power levels and privacy: what is shown before a change is what comes of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from keyferry.contracts.access_role import AccessRole
from tests.support.waiting import until
from tests.ui.browser import PageOpener
from tests.ui.demo.people import ADMIN, OWNER, TENANT, VIEWER, Person
from tests.ui.demo.system import COOKIE, START_SECONDS, DemoSystem

WITHIN: Final = 0.05
"""How far a projection may be from what is charged."""
CONFLICT: Final = r"status (of )?409"
REFUSED: Final = r"status (of )?4(00|22)"
LEVELS_TENANT: Final = "levels"
LEVELS_OWNER: Final = Person("hedy@levels.example", AccessRole.OWNER, LEVELS_TENANT)
REQUESTS: Final = 8
_AMOUNT = re.compile(r"\$[\d,]+\.\d{6}")


@dataclass(frozen=True)
class Change:
    """Changes of the management API as a person's page sends them."""

    demo: DemoSystem
    person: Person

    def send(self, method: str, path: str, body: object = None) -> Any:
        """Send a change; return the answer's body. Raises AssertionError for a refusal."""
        cookies = {COOKIE: self.demo.session(self.person)}
        with httpx.Client(base_url=self.demo.console_url, cookies=cookies, timeout=60) as client:
            token = client.get("/api/v1/session").json()["csrf_token"]
            headers = {"x-csrf-token": token, "origin": self.demo.console_url, "sec-fetch-site": "same-origin"}
            answer = client.request(method, f"/api/v1{path}", json=body, headers=headers)
            assert answer.is_success, answer.text
            return answer.json()


@pytest.fixture
def rules(demo: DemoSystem) -> Iterator[dict[str, Any]]:
    """Provide the published rules; afterwards they are published again, and there is no draft."""
    before = demo.get(OWNER, "/routing/rules").json()
    yield before
    change = Change(demo, OWNER)
    if demo.get(OWNER, "/routing/rules").json()["draft"] is not None:
        change.send("DELETE", "/routing/rules/draft")
    change.send(
        "POST", "/routing/rules/publish", {"rules": before["version"]["rule_set"]["rules"], "note": "As before"}
    )


@pytest.fixture
def preferences(demo: DemoSystem) -> Iterator[Change]:
    """Provide changes of preferences; afterwards those of the tenant are as before."""
    before = demo.get(OWNER, "/preferences").json()["saved"]
    yield Change(demo, OWNER)
    Change(demo, OWNER).send("PUT", "/preferences", before)


def _text(page: Page) -> Locator:
    return page.get_by_label("The same rules as text")


def _action(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def test_rules_are_reviewed_published_and_rolled_back(
    pages: PageOpener, demo: DemoSystem, rules: dict[str, Any]
) -> None:
    published = rules["published"]
    observed = pages.open(f"/t/{TENANT}/routing?tab=rules")
    page = observed.page
    _text(page).fill(_text(page).input_value().replace("model: gpt-4o-mini", "model: mistral-small", 1))
    page.get_by_text(re.compile("Unsaved changes")).wait_for()
    _text(page).fill(_text(page).input_value().replace("      - model: mistral-small\n", "", 1))
    _action(page, "Review and publish").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("summaries-are-cheap is changed (chain)")).to_be_visible()
    expect(dialog.get_by_text(re.compile("would go to another model"))).to_be_visible(timeout=30_000)
    dialog.get_by_label("Note").fill("Mistral first")
    _action(page, "Publish").click()
    expect(page.get_by_text(re.compile(f"^Version {published + 1} is in force, published by"))).to_be_visible(
        timeout=30_000
    )
    now = demo.get(OWNER, "/routing/rules").json()
    assert now["published"] == published + 1
    assert now["version"]["note"] == "Mistral first"
    assert [step["model"] for step in now["version"]["rule_set"]["rules"][0]["chain"]] == ["mistral-small"]

    page.get_by_role("tab", name="Versions").click()
    _action(page, f"Look at version {published}").click()
    _action(page, f"Roll back to version {published}").click()
    _action(page, "Roll back").click()
    until(
        "the earlier rules are in force again",
        lambda: demo.get(OWNER, "/routing/rules").json()["published"] == published + 2,
    )
    again = demo.get(OWNER, "/routing/rules").json()["version"]
    assert again["rule_set"] == rules["version"]["rule_set"]
    assert again["restored_from"] == published


def test_a_second_tab_is_shown_what_the_first_has_saved_and_keeps_its_own_rules(
    pages: PageOpener, demo: DemoSystem, rules: dict[str, Any]
) -> None:
    del rules
    mine = pages.open(f"/t/{TENANT}/routing?tab=rules", OWNER)
    theirs = pages.open(f"/t/{TENANT}/routing?tab=rules", ADMIN)
    mine.expect(CONFLICT)
    mine.page.get_by_label("Description of rule research-is-precise").fill("mine")
    theirs.page.get_by_label("Description of rule summaries-are-cheap").fill("theirs")
    _action(theirs.page, "Save draft").click()
    alert = mine.page.get_by_role("alert").filter(has_text="saved another draft while you edit")
    expect(alert).to_be_visible(timeout=15_000)
    expect(alert.get_by_text("description: theirs")).to_be_visible()
    assert "description: mine" in _text(mine.page).input_value()
    _action(mine.page, "Keep my rules").click()
    _action(mine.page, "Save draft").click()
    until(
        "the second draft is saved",
        lambda: "mine" in str(demo.get(OWNER, "/routing/rules").json()["draft"]),
    )
    assert "theirs" not in str(demo.get(OWNER, "/routing/rules").json()["draft"])


def test_a_stale_save_is_refused_and_nothing_is_lost(
    pages: PageOpener, demo: DemoSystem, rules: dict[str, Any]
) -> None:
    """Without live events the other draft is only seen when it is too late: the API refuses."""
    observed = pages.open(f"/t/{TENANT}/routing?tab=rules")
    page = observed.page
    observed.expect(CONFLICT)
    page.get_by_role("button", name="Live").click()
    expect(page.get_by_text("Paused", exact=True)).to_be_visible()
    page.get_by_label("Description of rule research-is-precise").fill("mine")
    other = rules["version"]["rule_set"]["rules"][:1]
    Change(demo, ADMIN).send("PUT", "/routing/rules/draft", {"rules": other, "revision": 0})
    _action(page, "Save draft").click()
    expect(page.get_by_role("alert").filter(has_text="saved another draft while you edit")).to_be_visible(
        timeout=15_000
    )
    assert "description: mine" in _text(page).input_value()


def test_a_fault_is_shown_on_its_line_and_beside_its_field(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}/routing?tab=rules")
    page = observed.page
    _text(page).fill("rules:\n  - name: a\n    chain:\n      - modle: gpt-4o-mini\n")
    expect(page.get_by_role("button", name="Line 4").first).to_be_visible()
    expect(page.get_by_text("The form shows the rules as they were before")).to_be_visible()
    _text(page).fill("rules:\n  - name: a\n    chain:\n      - model: gpt-4o-mini\n")
    page.get_by_label("Name of rule a", exact=True).fill("A")
    expect(page.get_by_text(re.compile("give a name of 1 to 63")).first).to_be_visible()
    assert "- name: A" in _text(page).input_value()


def test_unsaved_rules_are_not_left_without_asking(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}/routing?tab=rules")
    page = observed.page
    page.get_by_label("Description of rule research-is-precise").fill("unsaved")
    page.get_by_role("link", name="Usage").first.click()
    dialog = page.get_by_role("dialog", name="Leave without saving?")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(page).to_have_url(re.compile("/routing"))
    assert "description: unsaved" in _text(page).input_value()


def test_the_steps_of_a_chain_are_moved_by_buttons(pages: PageOpener) -> None:
    page = pages.open(f"/t/{TENANT}/routing?tab=rules").page
    _action(page, "Move step 1 of summaries-are-cheap down").click()
    text = _text(page).input_value()
    assert text.index("mistral-small") < text.index("gpt-4o-mini")


def test_who_may_only_look_can_change_nothing(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}/routing?tab=rules", VIEWER)
    expect(_text(observed.page)).not_to_be_editable()
    expect(_action(observed.page, "Save draft")).to_have_attribute("aria-disabled", "true")
    for path, button in (
        ("preferences", "Save preferences"),
        ("power-level", "Save power level"),
        ("privacy", "Turn on"),
    ):
        shown = pages.open(f"/t/{TENANT}/{path}", VIEWER)
        disabled = _action(shown.page, button)
        expect(disabled).to_have_attribute("aria-disabled", "true")
        expect(shown.page.get_by_text(re.compile("Your role is viewer")).first).to_be_attached()


def test_only_in_the_union_shows_what_it_costs_and_what_prevents_it(
    pages: PageOpener, demo: DemoSystem, preferences: Change
) -> None:
    preferences.send("PUT", "/preferences", {"default_model": "gpt-4o-mini"})
    observed = pages.open(f"/t/{TENANT}/privacy")
    page = observed.page
    observed.expect(REFUSED)
    _action(page, "Turn on").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(re.compile(r"^\d+ of \d+ models remain; ")).first).to_be_visible()
    expect(dialog.get_by_text(re.compile("Default model: no model is left without gpt-4o-mini"))).to_be_visible()
    expect(dialog.get_by_role("link", name="Fix Default model")).to_be_visible()
    dialog.get_by_role("button", name="Turn on").click()
    expect(dialog.get_by_text(re.compile("no offering inside the European Union"))).to_be_visible()
    assert demo.get(OWNER, "/preferences").json()["saved"]["eu_only"] is None


def test_preferences_save_only_what_differs_and_keep_edits_in_a_conflict(
    pages: PageOpener, demo: DemoSystem, preferences: Change
) -> None:
    observed = pages.open(f"/t/{TENANT}/preferences")
    page = observed.page
    page.get_by_label("Temperature", exact=True).fill("0.3")
    preferences.send("PUT", "/preferences", {"max_tokens": 1500})
    expect(page.get_by_text("Somebody else has saved these preferences meanwhile")).to_be_visible(timeout=15_000)
    expect(page.get_by_text("Longest answer: 1,500")).to_be_visible()
    _action(page, "Save preferences").click()
    until("both are saved", lambda: demo.get(OWNER, "/preferences").json()["saved"]["temperature"] == 0.3)
    saved = demo.get(OWNER, "/preferences").json()["saved"]
    assert {name: value for name, value in saved.items() if value is not None} == {
        "temperature": 0.3,
        "max_tokens": 1500,
    }


def test_a_refused_preference_is_named_beside_its_field(pages: PageOpener, preferences: Change) -> None:
    del preferences
    observed = pages.open(f"/t/{TENANT}/preferences")
    page = observed.page
    observed.expect(REFUSED)
    page.get_by_label("Longest answer", exact=True).fill("2000")
    page.get_by_label("Limit of every request", exact=True).fill("500")
    _action(page, "Save preferences").click()
    expect(page.get_by_text(re.compile("^2000 is more than a request may have")).first).to_be_visible()


@pytest.fixture
def levels(demo: DemoSystem) -> DemoSystem:
    """Provide a tenant whose requests name their models, which the platform's keys serve."""
    if LEVELS_TENANT not in demo.tokens:
        demo.add_tenant(LEVELS_TENANT, "Levels", keys="platform")
        grant = ("credits", "grant", LEVELS_TENANT, "50000", "--reason", "Test", "--idempotency-key", "levels")
        demo.until_done(*grant)
        demo.add_token(LEVELS_TENANT, "App")
    return demo


def _send_requests(demo: DemoSystem) -> list[str]:
    """Send the requests of the comparison, and wait until the ledger has them. Return their ids."""

    def answered() -> bool:
        return demo.ask(LEVELS_TENANT, "gpt-4o-mini", "first", more={"max_tokens": 1}).status_code == 200

    until("the tenant is served", answered, START_SECONDS)
    answers = [
        demo.ask(LEVELS_TENANT, "gpt-4o-mini", f"Explain in many words. ({number})", more={"max_tokens": 400})
        for number in range(REQUESTS)
    ]
    assert all(answer.status_code == 200 for answer in answers)
    found = [str(answer.headers["x-request-id"]) for answer in answers]
    until(
        "the ledger has the requests",
        lambda: all(demo.get(LEVELS_OWNER, f"/requests/{each}").status_code == 200 for each in found),
        START_SECONDS,
    )
    return found


def _charged_micro_usd(demo: DemoSystem, request_ids: list[str]) -> int:
    requests = [demo.get(LEVELS_OWNER, f"/requests/{each}").json()["request"] for each in request_ids]
    return sum(request["charge_micro_usd"] for request in requests)


def _projected_micro_usd(page: Page, level: str) -> int:
    """Return the month of a card, exactly, as its title has it."""
    title = page.get_by_role("radio", name=level).locator("[title]").first.get_attribute("title")
    assert title is not None
    assert _AMOUNT.fullmatch(title), title
    return int(re.sub(r"[$,.]", "", title))


def test_a_level_costs_what_its_card_says(pages: PageOpener, levels: DemoSystem) -> None:
    before = _send_requests(levels)
    observed = pages.open(f"/t/{LEVELS_TENANT}/power-level", LEVELS_OWNER)
    page = observed.page
    card = page.get_by_role("radio", name="Precision")
    expect(card.get_by_text("a month").first).to_be_visible(timeout=30_000)
    comparison = levels.get(LEVELS_OWNER, "/power-level/comparison?days=30").json()
    of_sent = REQUESTS / comparison["requests"]
    assert of_sent > 0.5
    projected = _projected_micro_usd(page, "Precision") / 30 * comparison["days_seen"]
    card.click()
    expect(page.get_by_text(re.compile(r"more a month, for requests like those"))).to_be_visible()
    _action(page, "Save power level").click()
    until(
        "the level is saved",
        lambda: levels.get(LEVELS_OWNER, "/power-level").json()["power_level"] == "precision",
    )

    def charged_at_the_level() -> bool:
        answer = levels.ask(LEVELS_TENANT, "gpt-4o-mini", "now", more={"max_tokens": 1})
        return bool(answer.headers.get("x-keyferry-power-level") == "precision")

    until("the level is in force", charged_at_the_level)
    after = _send_requests(levels)
    charged = _charged_micro_usd(levels, after)
    assert charged > _charged_micro_usd(levels, before)
    assert abs(projected - charged) <= WITHIN * charged, f"projected {projected}, charged {charged}"
