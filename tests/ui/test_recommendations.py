"""Recommendations from real requests, and the rule that one of them puts into the draft."""

import re
from typing import Final

import pytest
from playwright.sync_api import expect

from keyferry.contracts.access_role import AccessRole
from tests.support.waiting import until
from tests.ui.browser import PageOpener
from tests.ui.demo.people import Person
from tests.ui.demo.system import START_SECONDS, DemoSystem

SAVER: Final = "saver"
OWNER: Final = Person("grace@saver.example", AccessRole.OWNER, SAVER)
MODEL: Final = "gpt-5.5"
REQUESTS: Final = 8


@pytest.fixture
def saver(demo: DemoSystem) -> DemoSystem:
    """Provide a tenant with some requests to a dear model, which the ledger has."""
    if SAVER in demo.tokens:
        return demo
    demo.add_tenant(SAVER, "Saver", tier="enterprise", keys="platform")
    demo.until_done("credits", "grant", SAVER, "50000", "--reason", "Test", "--idempotency-key", "saver")
    demo.add_token(SAVER, "App")
    until("the tenant is served", lambda: demo.ask(SAVER, MODEL, "first").status_code == 200, START_SECONDS)
    for number in range(REQUESTS):
        prompt = f"({number}) {'Summarize this page. ' * 2000}"
        answer = demo.ask(SAVER, MODEL, prompt, headers={"x-operation": "summary"})
        assert answer.status_code == 200, answer.text

    def recommended() -> bool:
        found = demo.get(OWNER, "/recommendations").json()["recommendations"]
        return any(each["model"] == MODEL and each["requests"] >= REQUESTS for each in found)

    until("the ledger has the requests", recommended, START_SECONDS)
    return demo


def test_a_recommendation_becomes_a_rule_of_the_draft(pages: PageOpener, saver: DemoSystem) -> None:
    observed = pages.open(f"/t/{SAVER}/recommendations", OWNER)
    page = observed.page
    card = page.get_by_role("region", name=re.compile(f"instead of {re.escape(MODEL)} for summary"))
    expect(card).to_be_visible(timeout=30_000)
    expect(card.get_by_text("low confidence")).to_be_visible()
    expect(card.get_by_text(re.compile(r"^saves \$"))).to_be_visible()
    page.get_by_role("button", name=re.compile("Put the rule into the draft: ")).click()
    expect(page.get_by_text("Nothing is published yet")).to_be_visible()
    draft = saver.get(OWNER, "/routing/rules/draft").json()
    (rule,) = draft["rule_set"]["rules"]
    assert (rule["when"]["operation"], rule["when"]["model"]) == (["summary"], [MODEL])
    card.get_by_role("link", name="Try it and publish it").click()
    expect(page.get_by_label("The same rules as text")).to_have_value(re.compile(rule["name"]))


def test_a_tier_without_recommendations_names_the_one_that_has_them(pages: PageOpener, saver: DemoSystem) -> None:
    small = Person("ada@small.example", AccessRole.OWNER, "small")
    saver.add_tenant("small", "Small", tier="starter")
    observed = pages.open("/t/small/recommendations", small)
    observed.expect(r"status (of )?409")
    expect(observed.page.get_by_text("Your tier does not include recommendations")).to_be_visible()
    expect(observed.page.get_by_text(re.compile("upgrade to professional"))).to_be_visible()
