"""A tenant sees its own spans of a trace, and of them what is about its request."""

import pytest

from keyferry.contracts.traces import MAX_TRACE_SPANS, SpanLink, SpanRecord
from services.usage_ledger.traces.selection import MAX_ANSWER_BYTES, select_spans
from tests.support.traces.spans import TRACE, served_request, span


def ids(spans: "list[SpanRecord] | tuple[SpanRecord, ...]") -> list[int]:
    return [int(each.span_id, 16) for each in spans]


def selected(found: list[SpanRecord], tenant: str = "acme", request: str | None = None, *known: str) -> list[int]:
    return ids(list(select_spans(found, tenant, known, request).spans))


def test_two_tenants_in_one_trace_see_their_own_spans() -> None:
    found = served_request("req_a", "acme") + served_request("req_b", "rival", first=50)
    assert selected(found) == [1, 2, 3, 4, 5, 6, 7]
    assert selected(found, "rival") == [50, 51, 52, 53, 54, 55, 56]
    assert selected(found, "third") == []


def test_a_span_below_another_tenant_s_span_belongs_to_whom_it_names() -> None:
    victim = span(1, None, 0, 9, attributes={"keyferry.tenant": "acme", "keyferry.request_id": "req_a"})
    attacker = span(2, 1, 1, 8, attributes={"keyferry.tenant": "rival", "keyferry.request_id": "req_r"})
    below = span(3, 2, 2, 7)
    assert selected([victim, attacker, below]) == [1]
    assert selected([victim, attacker, below], "rival") == [2, 3]


def test_spans_of_nobody_are_shown_to_nobody() -> None:
    found = [span(1, None, 0, 9), span(2, 1, 1, 8), span(3, 4, 1, 2), span(4, 3, 1, 2)]
    assert selected(found) == []


def test_a_request_without_a_tenant_on_its_spans_is_known_by_the_ledger_s_records() -> None:
    found = [span(1, None, 0, 9, attributes={"keyferry.request_id": "req_a"}), span(2, 1, 1, 8)]
    assert selected(found) == []
    assert selected(found, "acme", None, "req_a") == [1, 2]


def test_one_request_of_several_in_a_trace() -> None:
    found = served_request("req_a", "acme") + served_request("req_c", "acme", first=50)
    assert selected(found, "acme", "req_c") == [50, 51, 52, 53, 54, 55, 56]
    assert len(selected(found)) == 14
    lease = span(90, 50, 5, 6, attributes={"keyferry.tenant": "acme"})
    assert 90 in selected([*found, lease], "acme", "req_c"), "a span that names only the tenant is its request's"


def test_a_span_that_was_stored_twice_is_shown_once() -> None:
    own = {"keyferry.tenant": "acme"}
    early, late = span(1, None, 0, 1, attributes=own), span(1, None, 0, 5, attributes=own)
    (shown,) = select_spans([late, early, late], "acme", (), None).spans
    assert shown.end_unix_ns == late.end_unix_ns


def test_what_is_not_about_the_request_is_not_shown() -> None:
    other = SpanLink(trace_id="f" * 32, span_id="1" * 16)
    hidden = SpanLink(trace_id=TRACE, span_id="9" * 16)
    own = SpanLink(trace_id=TRACE, span_id=f"{1:016x}")
    attributes = {
        "keyferry.tenant": "acme",
        "keyferry.internal.batch_size": 40,
        "db.statement": "SELECT 1",
        "process.command_line": "python",
        "gen_ai.request.model": "gpt-4o",
        "http.response.status_code": 200,
        "keyferry.attempt_number": 1,
    }
    shown = {"gen_ai.request.model": "gpt-4o", "http.response.status_code": 200, "keyferry.attempt_number": 1}
    event = {"name": "first_token", "at_unix_ns": 5, "attributes": attributes}
    found = span(1, None, 0, 9, attributes=attributes, links=[other, hidden, own], events=[event])
    (public,) = select_spans([found], "acme", (), None).spans
    assert (public.attributes, public.events[0].attributes, public.links) == (shown, shown, [own])


@pytest.mark.parametrize(("count", "text"), [(MAX_TRACE_SPANS + 7, "x"), (1500, "x" * 490)])
def test_an_answer_has_a_limit_and_says_how_much_is_missing(count: int, text: str) -> None:
    many = {f"keyferry.{number}": text for number in range(8)} if len(text) > 1 else {}
    found = [
        span(number, None, number, number, attributes={"keyferry.tenant": "acme", **many}) for number in range(1, count)
    ]
    selection = select_spans(found, "acme", (), None)
    assert len(selection.spans) + selection.omitted == count - 1
    assert len(selection.spans) <= MAX_TRACE_SPANS
    assert sum(len(each.encode()) for each in selection.spans) <= MAX_ANSWER_BYTES
    assert selection.omitted > 0
