"""What no page may show, load or keep: keys, tokens, and anything of another tenant."""

import json
from typing import Final

import pytest
from playwright.sync_api import Page, Response

from tests.support.canary.planted_secrets import installation_secrets
from tests.support.canary.searcher import Canary, CapturedOutput, Searcher
from tests.ui.browser import PageOpener
from tests.ui.demo.people import ADMIN, OPERATOR, OWNER, VIEWER, Person
from tests.ui.demo.providers import KEY_PREFIXES
from tests.ui.demo.seed import FOREIGN_OPERATION
from tests.ui.demo.system import DemoSystem
from tests.ui.route_table import read_pages

_DOCUMENT: Final = """() => document.documentElement.outerHTML
    + [...document.querySelectorAll('input, textarea')].map((each) => each.value).join(' ')"""
_STORAGE: Final = """async () => JSON.stringify([
    { ...localStorage }, { ...sessionStorage }, document.cookie,
    await Promise.all((await indexedDB.databases()).map((each) => each.name)),
    'caches' in window ? await caches.keys() : [],
    (await navigator.serviceWorker?.getRegistrations?.() ?? []).length,
])"""


def searcher_of(demo: DemoSystem) -> Searcher:
    """Return what finds every secret of the demo system, in any of the forms in which one may be written."""
    canaries = [Canary(name, secret, _public_prefix(secret)) for name, secret in demo.secrets.items()]
    return Searcher([*canaries, *installation_secrets(demo.system.home)])


def _public_prefix(secret: str) -> str:
    known = ("kf_live_", *KEY_PREFIXES.values())
    return max((prefix for prefix in known if secret.startswith(prefix)), key=len, default="")


def kept_by(page: Page) -> str:
    """Return what the browser keeps of a page, and can be read by its scripts."""
    return str(page.evaluate(_STORAGE))


def walk_all_pages(pages: PageOpener, person: Person, responses: dict[str, bytes]) -> list[CapturedOutput]:
    """Open every page as somebody; return the documents and the storage. `responses` gets the answers."""
    observed = pages.page(pages.context(person))
    observed.expect("40[34]")  # what this person may not see

    answers: list[Response] = []
    observed.page.on("response", lambda each: answers.append(each))
    found = []
    for page in read_pages():
        if person is OPERATOR or page.path.startswith("/t/"):
            observed.open(f"{pages.demo.console_url}{page.address(pages.demo)}")
            # A stream of events has no end, so its body cannot be read.
            read = [each for each in answers if each.request.resource_type in ("fetch", "xhr", "document")]
            responses.update({f"{person.email} {each.url}": each.body() for each in read})
            answers.clear()
            text = str(observed.page.evaluate(_DOCUMENT))
            found.append(CapturedOutput("page", f"{page.name} of {person.email}", text.encode()))
    found.append(CapturedOutput("storage", person.email, kept_by(observed.page).encode()))
    return found


@pytest.mark.timeout(400)  # every page for three people
def test_no_page_has_a_secret_in_its_document_its_storage_or_what_it_loads(pages: PageOpener, demo: DemoSystem) -> None:
    responses: dict[str, bytes] = {}
    outputs = [output for person in (OWNER, VIEWER, OPERATOR) for output in walk_all_pages(pages, person, responses)]
    outputs += [CapturedOutput("response", name, body) for name, body in responses.items()]
    searcher = searcher_of(demo)
    assert len(responses) > 3 * len(read_pages()) // 2
    assert searcher.sightings(outputs) == []
    secret = next(iter(demo.secrets.values()))
    assert searcher.found(f"a page with {secret} in it".encode()), "the search finds what is there"


@pytest.mark.timeout(300)
def test_no_page_of_a_tenant_has_anything_of_another_one(pages: PageOpener) -> None:
    responses: dict[str, bytes] = {}
    for output in walk_all_pages(pages, ADMIN, responses):
        assert FOREIGN_OPERATION.encode() not in output.data, output.place
    for name, body in responses.items():
        assert FOREIGN_OPERATION.encode() not in body, name


def test_the_browser_keeps_settings_alone(pages: PageOpener) -> None:
    observed = pages.open("/t/acme/keys")
    local, session, cookies, databases, caches, workers = json.loads(kept_by(observed.page))
    assert set(local) <= {"keyferry-color-scheme", "keyferry-time-zone", "keyferry-shortcuts"}, local
    assert (session, cookies, databases, caches, workers) == ({}, "", [], [], 0)
