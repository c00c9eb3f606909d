"""What happens is on the page without a reload, and comes again after the stream was cut."""

import re
import time
from typing import Final

from playwright.sync_api import expect

from tests.support.waiting import until
from tests.ui.browser import PageOpener
from tests.ui.demo.people import OWNER, TENANT
from tests.ui.demo.system import DemoSystem

FROM_LEDGER_TO_PAGE_SECONDS: Final = 1.0
_PILL = re.compile("^(Live|Reconnecting|Connecting|Paused)$")
_CUT = r"ERR_INTERNET_DISCONNECTED|ERR_NETWORK_CHANGED|ERR_FAILED"
_RECORD_EVENTS = """() => {
    window.__received = [];
    const add = EventSource.prototype.addEventListener;
    const Source = window.EventSource;
    window.EventSource = class extends Source {
        constructor(...given) {
            super(...given);
            for (const name of ['requests', 'reset', 'ready']) {
                add.call(this, name, (event) => window.__received.push([name, event.data, Date.now()]));
            }
        }
    };
}"""
_RECEIVED_AT = """(id) => (window.__received ?? [])
    .filter(([name, data]) => name === 'requests' && data.includes(id)).map(([name, data, at]) => at)"""


def _recorded_at(demo: DemoSystem, request_id: str) -> float:
    """Wait until the ledger has the request. Return the time at which that was seen."""
    until(
        f"the ledger has {request_id}",
        lambda: demo.get(OWNER, f"/requests/{request_id}").status_code == 200,
    )
    return time.time()


def test_a_request_arrives_in_an_open_page_within_a_second_of_the_ledger(pages: PageOpener, demo: DemoSystem) -> None:
    context = pages.context()
    context.add_init_script(f"({_RECORD_EVENTS})()")
    observed = pages.page(context)
    observed.open(f"{demo.console_url}/t/{TENANT}/requests")
    expect(observed.page.get_by_text(_PILL)).to_have_text("Live")
    answer = demo.ask(TENANT, "gpt-4o-mini", "a live request", headers={"x-operation": "live"})
    request_id = answer.headers["x-request-id"]
    recorded_at = _recorded_at(demo, request_id)
    observed.page.wait_for_timeout(0)  # let the page's events in
    received = until("the event arrives", lambda: observed.page.evaluate(_RECEIVED_AT, request_id))
    assert received[0] / 1000 - recorded_at <= FROM_LEDGER_TO_PAGE_SECONDS


def test_the_stream_is_resumed_after_a_cut_and_nothing_is_missing(pages: PageOpener, demo: DemoSystem) -> None:
    context = pages.context()
    context.add_init_script(f"({_RECORD_EVENTS})()")
    observed = pages.page(context)
    observed.expect(_CUT)
    observed.open(f"{demo.console_url}/t/{TENANT}/requests")
    pill = observed.page.get_by_text(_PILL)
    expect(pill).to_have_text("Live")
    observed.page.evaluate("() => window.__liveCut?.()")
    context.set_offline(True)
    answer = demo.ask(TENANT, "gpt-4o-mini", "a request during the cut", headers={"x-operation": "live"})
    request_id = answer.headers["x-request-id"]
    _recorded_at(demo, request_id)
    context.set_offline(False)
    expect(pill).to_have_text("Live", timeout=30_000)
    until("the event arrives after all", lambda: observed.page.evaluate(_RECEIVED_AT, request_id))


def test_the_stream_can_be_paused(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}")
    pill = observed.page.get_by_text(_PILL)
    expect(pill).to_have_text("Live")
    observed.page.get_by_role("button", name="Live").click()
    expect(pill).to_have_text("Paused")
    observed.page.get_by_role("button", name="Paused").click()
    expect(pill).to_have_text("Live")
