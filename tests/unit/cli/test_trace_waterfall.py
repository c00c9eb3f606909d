"""The text of a trace: a line for each span and each moment, bars of a fixed width, and what is not shown."""

from keyferry.cli.trace_waterfall import format_waterfall
from keyferry.contracts.traces import StoredTrace
from tests.support.traces.spans import TRACE, served_request, span


def test_a_request_that_fell_back() -> None:
    trace = StoredTrace(tenant="acme", request_id="req_1", trace_id=TRACE, spans=served_request("req_1", "acme"))
    assert format_waterfall(trace, attributes=False) == [
        f"Trace     {TRACE}",
        "Request   req_1",
        "Began     2026-03-01 12:00:00.000Z, 7 spans in 671 ms",
        "",
        "START    TIME                                         SERVICE          SPAN",
        "0 µs     640 ms   [==============================  ]  ingress          POST /v1/chat/completions",
        "2.00 ms  2.00 ms  [|                               ]  router             router.decide",
        "5.00 ms  115 ms   [=====                           ]  provider-worker      chat gpt-4o-mini  FAILED: overloaded",
        "121 ms   2.00 ms  [     |                          ]  router                 router.decide",
        "125 ms   513 ms   [     ========================   ]  provider-worker          chat gpt-4o",
        "312 ms            [              |                 ]                             * first_token after 187 ms",
        "126 ms   5.00 ms  [      |                         ]  key-vault                  key_vault.lease",
        "660 ms   11.0 ms  [                               |]  usage-ledger               usage_ledger.record",
        "",
        "`keyferry explain req_1 --tenant acme` shows the decision, the attempts and their cost",
    ]


def test_attributes_slow_clocks_and_what_is_not_shown_are_named() -> None:
    slow = span(2, 1, -4000, -3900, instance_id="worker-2", attributes={"gen_ai.stream": True, "keyferry.n": 3})
    long = span(3, 1, 1, 2, name="x" * 300)
    trace = StoredTrace(tenant="acme", trace_id=TRACE, spans=[span(1, None, 0, 50), slow, long], omitted=12)
    lines = format_waterfall(trace, attributes=True)
    assert "the clock of worker-2 is slow: its spans are shown 4.00 s later than it says" in lines
    assert "12 more are stored and not shown: a trace is shown up to a limit" in lines
    assert "  gen_ai.stream                    true" in lines
    assert max(map(len, lines)) < 140


def test_a_trace_in_no_time_and_one_of_centuries_are_shown() -> None:
    for begin, end in ((0, 0), (-50 * 365 * 86_400_000, 60 * 365 * 86_400_000)):
        trace = StoredTrace(tenant="acme", trace_id=TRACE, spans=[span(1, None, begin, end)])
        assert any("operation 1" in line for line in format_waterfall(trace, attributes=False))
    future = span(1, None, 0, 0).model_copy(update={"start_unix_ns": 2**63 - 1, "end_unix_ns": 2**63 - 1})
    assert format_waterfall(StoredTrace(tenant="acme", trace_id=TRACE, spans=[future]), attributes=False)
