"""The request log over HTTP: filters, cursors, and the stream of an export."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from keyferry.contracts.envelope import Message
from keyferry.contracts.ledger_management import REQUEST_LIST, REQUEST_SHOW
from keyferry.contracts.request_cursor import ATTEMPT, Position, RequestCursor, encode_cursor
from keyferry.contracts.request_log import (
    CostArithmetic,
    ListRequests,
    LoggedAttempt,
    LoggedRequest,
    RequestCount,
    RequestOutcome,
    RequestPage,
    ShownRequest,
    ShowRequest,
)
from keyferry.contracts.request_rows import COLUMNS
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.usage import KeySource, Outcome, RequestKind, TokenUsage, UsageSource
from services.console.request_export import ExportStopped
from tests.support.ledger.attempt_records import decision_record
from tests.unit.console.surface import NOW, Surface, error

ACME = "/api/v1/ops/tenants/acme"


def logged(number: int, **changes: Any) -> LoggedRequest:
    attempt = LoggedAttempt(
        attempt_id=f"att_{number}",
        attempt_number=1,
        decision_id=f"dec_{number}",
        provider="openai",
        model="gpt-4o",
        key_source=KeySource.BYOK,
        outcome=Outcome.COMPLETED,
        usage_source=UsageSource.REPORTED,
        token_usage=TokenUsage(input=number),
        pricing="priced",
        cost_usd=Decimal("0.0000005"),
        started_at=NOW + timedelta(seconds=number, microseconds=7),
        latency_ms=5,
        recorded_at=NOW,
    )
    values: dict[str, Any] = {
        "request_id": f"req_{number}",
        "started_at": NOW,
        "outcome": RequestOutcome.COMPLETED,
        "decision_id": f"dec_{number}",
        "kind": RequestKind.CHAT,
        "stream": True,
        "model_asked": "gpt-4o",
        "attempts": [attempt],
    }
    return LoggedRequest.model_validate(values | changes)


def ledger(surface: Surface, pages: list[list[LoggedRequest]]) -> None:
    """Answer with these pages, one after the other."""

    def answer(command: Message) -> RequestPage:
        assert isinstance(command, ListRequests)
        at = 0 if command.after is None else int(_decode(command.after))
        more = at + 1 < len(pages)
        following = encode_cursor(RequestCursor(NOW, Position(NOW, ATTEMPT, str(at + 1))), command) if more else None
        return RequestPage(requests=pages[at], next=following, as_of=NOW)

    surface.bus.answers(REQUEST_LIST, answer)


def _decode(cursor: str) -> str:
    import base64

    return str(json.loads(base64.urlsafe_b64decode(cursor + "=="))[4])


async def test_every_filter_reaches_the_ledger() -> None:
    surface = Surface()
    surface.bus.answers(
        REQUEST_LIST, RequestPage(requests=[logged(1)], as_of=NOW, total=RequestCount(count=10_000, more=True))
    )
    query = (
        "since=2026-11-01T00:00:00%2B01:00&until=2026-12-01&outcome=failed&error_class=rate_limit&provider=groq&model=a/b"
        "&operation=code&level=eco&key_source=byok&key_id=key_1&client_token=tok_1&team=blue&member=ann&tag=a=b%3Dc"
        "&min_cost_usd=0.5&min_latency_ms=20&id=req_0001&text=rate%20limit&limit=7&count=true"
    )
    found = (await surface.ask("GET", f"{ACME}/requests?{query}")).json()
    assert [each["request_id"] for each in found["data"]] == ["req_1"]
    assert (found["next"], found["tz"], found["total"]) == (None, "UTC", {"count": 10_000, "more": True})
    assert found["as_of"] == "2026-11-21T12:00:00Z"
    assert surface.bus.asked[-1][1] == ListRequests(
        tenant="acme",
        since=datetime(2026, 10, 31, 23, tzinfo=UTC),
        until=datetime(2026, 12, 1, tzinfo=UTC),
        outcome=RequestOutcome.FAILED,
        error_class="rate_limit",
        provider="groq",
        model="a/b",
        operation="code",
        level="eco",
        key_source=KeySource.BYOK,
        key_id="key_1",
        client_token_id="tok_1",
        team="blue",
        member="ann",
        tag_name="a",
        tag_value="b=c",
        min_cost_usd=Decimal("0.5"),
        min_latency_ms=20,
        id="req_0001",
        text="rate limit",
        limit=7,
        count=True,
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("tenant=globex", (400, "unknown_field", "tenant")),
        ("offset=5", (400, "unknown_field", "offset")),
        ("limit=201", (422, "invalid_value", "limit")),
        ("outcome=lost", (422, "invalid_value", "outcome")),
        ("tag=%3Db", (422, "invalid_value", "tag")),
        ("text=%25%25", (422, "invalid_value", "text")),
        ("text=%00a", (422, "invalid_value", "text")),
        ("model=" + "x" * 400, (422, "invalid_value", "model")),
        ("id=req", (422, "invalid_value", "id")),
        ("min_cost_usd=-1", (422, "invalid_value", "min_cost_usd")),
        ("since=2026-12-01&until=2026-12-01", (422, "invalid_value", "until")),
        ("after=nonsense", (400, "invalid_cursor", "after")),
        ("after=WzEsMiwzXQ", (400, "invalid_cursor", "after")),
        ("provider=openai&provider=groq", (400, "invalid_value", "provider")),
    ],
)
async def test_a_wrong_query_is_refused(query: str, expected: tuple[int, str, str]) -> None:
    surface = Surface()
    assert error(await surface.ask("GET", f"{ACME}/requests?{query}")) == expected
    assert [name for name, _ in surface.bus.asked if name == "request.list"] == []


async def test_a_cursor_is_for_its_tenant_and_filters_only() -> None:
    surface = Surface()
    ledger(surface, [[logged(1)], [logged(2)]])
    first = (await surface.ask("GET", f"{ACME}/requests?provider=openai&limit=1")).json()
    after = first["next"]
    second = (await surface.ask("GET", f"{ACME}/requests?provider=openai&limit=9&after={after}")).json()
    assert ([each["request_id"] for each in second["data"]], second["next"]) == (["req_2"], None)
    for path in (
        f"{ACME}/requests?provider=groq",
        f"{ACME}/requests?provider=openai&outcome=failed",
        "/api/v1/ops/tenants/globex/requests?provider=openai",
    ):
        response = await surface.ask("GET", f"{path}&after={after}")
        assert error(response) == (400, "invalid_cursor", "after")
        assert "another tenant or other filters" in response.json()["error"]["message"]


async def test_csv_has_every_attempt_with_exact_amounts_and_no_formulas() -> None:
    surface = Surface()
    hostile = ["=1+1", "+1", "-1", "@x", 'a"b,c', "＝1", "ü☃"]
    rows = [logged(number, model_asked=text, tags={"t": text}) for number, text in enumerate(hostile)]
    refused = logged(99, attempts=[], outcome=RequestOutcome.REFUSED, error="=no", error_class="policy")
    ledger(surface, [rows[:3], rows[3:], [refused]])
    response = await surface.ask("GET", f"{ACME}/requests/export?format=csv&tz=Asia/Kolkata&key_source=byok")
    assert response.headers["content-type"].startswith("text/csv; charset=utf-8")
    assert response.headers["content-disposition"] == 'attachment; filename="requests-acme.csv"'
    assert response.headers["keyferry-as-of"] == "2026-11-21T12:00:00+00:00"
    assert response.text.count("\r\n") == len(hostile) + 2
    read = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert tuple(read[0]) == COLUMNS
    assert [row["model_asked"] for row in read[:-1]] == ["'=1+1", "'+1", "'-1", "'@x", 'a"b,c', "'＝1", "ü☃"]
    assert json.loads(read[0]["tags"]) == {"t": "=1+1"}
    assert read[0]["time"] == "2026-11-21T17:30:00.000007+05:30"
    assert {(row["cost_usd"], row["cost_micro_usd"]) for row in read[:-1]} == {("0.0000005", "1")}
    last = read[-1]
    assert (last["outcome"], last["error"], last["attempt_id"], last["cost_usd"]) == ("refused", "'=no", "", "")
    assert {asked.settled for _, asked in surface.bus.asked if isinstance(asked, ListRequests)} == {True}


async def test_json_lines_end_with_the_count_or_the_error() -> None:
    surface = Surface()
    ledger(surface, [[logged(1)], [logged(2)]])
    response = await surface.ask("GET", f"{ACME}/requests/export?format=jsonl")
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [line.get("attempt_id") for line in lines] == ["att_1", "att_2", None]
    assert (lines[0]["cost_usd"], lines[0]["tags"], lines[0]["input_tokens"]) == ("0.0000005", {}, 1)
    assert lines[-1] == {"end": True, "as_of": "2026-11-21T12:00:00+00:00", "requests": 2, "rows": 2}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_an_error_in_the_middle_is_visible(form: str) -> None:
    surface = Surface()

    def answer(command: Message) -> RequestPage | Refusal:
        assert isinstance(command, ListRequests)
        if command.after is None:
            following = encode_cursor(RequestCursor(NOW, Position(NOW, ATTEMPT, "x")), command)
            return RequestPage(requests=[logged(1)], next=following, as_of=NOW)
        return Refusal(code=ErrorCode.INTERNAL, message="the ledger failed")

    surface.bus.answers(REQUEST_LIST, answer)
    if form == "csv":
        from services.console.request_export import RequestExport
        from services.console.service_client import ServiceClient

        export = RequestExport(ServiceClient(surface.bus.ask), ListRequests(tenant="acme"), UTC, "csv")
        await export.begin()
        with pytest.raises(ExportStopped):
            [chunk async for chunk in export.chunks()]
        return
    response = await surface.ask("GET", f"{ACME}/requests/export?format=jsonl")
    last = json.loads(response.text.splitlines()[-1])
    assert (last["error"]["message"], last["rows"]) == ("the ledger failed", 1)


async def test_an_export_that_cannot_begin_has_a_status() -> None:
    surface = Surface()
    assert error(await surface.ask("GET", f"{ACME}/requests/export?format=csv"))[0] == 503
    assert error(await surface.ask("GET", f"{ACME}/requests/export?format=xml")) == (422, "invalid_value", "format")
    assert error(await surface.ask("GET", f"{ACME}/requests/export?format=csv&tz=Mars/Base"))[2] == "tz"


async def test_a_request_is_shown_with_its_arithmetic() -> None:
    surface = Surface()
    record = decision_record(tenant="acme", request_id="req_1")
    shown = ShownRequest(
        request=logged(1), decisions=[record], arithmetic=[CostArithmetic(attempt_id="att_1", pricing="free")]
    )
    surface.bus.answers(REQUEST_SHOW, shown)
    found = (await surface.ask("GET", f"{ACME}/requests/req_1")).json()
    assert found["request"]["request_id"] == "req_1"
    assert [each["decision_id"] for each in found["decisions"]] == [record.decision_id]
    assert found["decisions"][0]["candidates"] == [each.model_dump(mode="json") for each in record.candidates]
    assert found["arithmetic"][0]["attempt_id"] == "att_1"
    assert surface.bus.asked[-1][1] == ShowRequest(tenant="acme", request_id="req_1")
    surface.bus.answers(REQUEST_SHOW, ShownRequest())
    assert error(await surface.ask("GET", f"{ACME}/requests/req_1")) == (404, "not_found", None)
