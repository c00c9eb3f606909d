"""A trace over HTTP: rows in the order of a waterfall, or why there are none."""

import pytest

from keyferry.contracts.traces import TRACE_GET, GetTrace, StoredTrace, TraceAbsence
from tests.support.traces.spans import TRACE, served_request, span
from tests.unit.console.surface import NOW, Surface

ACME = "/api/v1/ops/tenants/acme"


@pytest.mark.parametrize(
    ("given", "asked"),
    [(TRACE.upper(), {"trace_id": TRACE}), ("req_1", {"request_id": "req_1"}), ("f" * 31, {"request_id": "f" * 31})],
)
async def test_an_id_is_a_trace_s_or_a_request_s(given: str, asked: dict[str, str]) -> None:
    surface = Surface()
    surface.bus.answers(TRACE_GET, StoredTrace(tenant="acme", absence=TraceAbsence.NOT_SAMPLED, kept_since=NOW))
    found = (await surface.ask("GET", f"{ACME}/traces/{given}")).json()
    assert surface.bus.asked[-1][1] == GetTrace.model_validate({"tenant": "acme", **asked})
    assert (found["rows"], found["absent"]["reason"], found["began_at"]) == ([], "not_sampled", None)
    assert "-01" in found["absent"]["detail"]


async def test_the_rows_have_times_from_the_begin_and_numbers_that_browsers_keep() -> None:
    surface = Surface()
    odd = span(90, 9, 1, 0, attributes={"keyferry.bytes": 2**60, "keyferry.share": 0.5, "keyferry.stream": True})
    stored = StoredTrace(
        tenant="acme", request_id="req_1", trace_id=TRACE, spans=[*served_request("req_1", "acme"), odd], omitted=3
    )
    surface.bus.answers(TRACE_GET, stored)
    found = (await surface.ask("GET", f"{ACME}/traces/req_1")).json()
    assert (found["began_at"], found["duration_us"], found["omitted"]) == ("2026-03-01T12:00:00Z", 671_000, 3)
    rows = {row["span_id"]: row for row in found["rows"]}
    call = rows[f"{5:016x}"]
    assert (call["depth"], call["offset_us"], call["duration_us"], call["kind"]) == (4, 125_000, 513_000, "client")
    assert [(event["name"], event["offset_us"]) for event in call["events"]] == [("first_token", 312_000)]
    lone = rows[f"{90:016x}"]
    assert (lone["depth"], lone["orphan"], lone["duration_us"]) == (0, True, 0)
    assert lone["attributes"] == {"keyferry.bytes": str(2**60), "keyferry.share": 0.5, "keyferry.stream": True}
