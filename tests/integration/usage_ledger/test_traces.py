"""Stored spans are found by request and by trace, for their own tenant only, and shown as text."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.traces import SPANS_RECORDED, TRACE_GET, GetTrace, SpanBatch, StoredTrace, TraceAbsence
from keyferry.contracts.usage import Outcome
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.traces import reading
from tests.integration.cli.command import keyferry, operator_environment
from tests.integration.usage_ledger.processes import LedgerServers
from tests.integration.usage_ledger.request_log.ledger import refusal
from tests.support.ledger.attempt_records import attempt_record, decision_record
from tests.support.traces.spans import TRACE, served_request, span, store_spans
from tests.support.waiting import eventually_async

NOW = datetime.now(UTC)
MINUTE_AGO = NOW - timedelta(minutes=1)


def traceparent(trace_id: str, flags: str = "01") -> str:
    return f"00-{trace_id}-b7ad6b7169203331-{flags}"


async def ask(operator: Bus, tenant: str = "acme", **question: str) -> StoredTrace:
    return await operator.ask(TRACE_GET, GetTrace.model_validate({"tenant": tenant, **question}), timeout_seconds=10)


def names(trace: StoredTrace) -> list[str]:
    return [each.name for each in trace.spans]


async def record(servers: LedgerServers, operator: Bus) -> None:
    """Record requests of two tenants in one trace, and requests without spans for several reasons."""
    shared: dict[str, Any] = {"started_at": MINUTE_AGO, "traceparent": traceparent(TRACE)}
    failure = Failure(failure_class=FailureClass.OVERLOADED, message="busy")
    attempts = [
        attempt_record(request_id="req_own", outcome=Outcome.FAILED, failure=failure, **shared),
        attempt_record(request_id="req_own", attempt_number=2, **shared),
        attempt_record(request_id="req_rival", tenant="rival", **shared),
        attempt_record(request_id="req_dull", started_at=MINUTE_AGO, traceparent=traceparent("1" * 32, "00")),
        attempt_record(request_id="req_lost", started_at=MINUTE_AGO, traceparent=traceparent("2" * 32)),
        attempt_record(request_id="req_old", started_at=NOW - timedelta(days=3), traceparent=traceparent("3" * 32)),
        attempt_record(request_id="req_alone", started_at=MINUTE_AGO),
    ]
    refused = refusal(request_id="req_refused", decided_at=MINUTE_AGO, traceparent=traceparent("4" * 32))
    decided = decision_record(request_id="req_own", decided_at=MINUTE_AGO, traceparent=traceparent(TRACE))
    async with servers.worker() as worker:
        await worker.publish([each.encode() for each in attempts])
        await worker.until_confirmed(attempts)
    await servers.decide([refused.encode(), decided.encode()])
    began_ns = int(MINUTE_AGO.timestamp() * 1e9)
    owned = {"keyferry.tenant": "acme", "keyferry.request_id": "req_refused"}
    refused_span = span(80, None, 0, 3, trace_id="4" * 32, attributes=owned)
    await store_spans(
        servers.installation,
        [
            *served_request("req_own", "acme", began_ns=began_ns),
            *served_request("req_rival", "rival", first=50, began_ns=began_ns),
            refused_span,
        ],
    )

    async def is_recorded() -> bool:
        return (await ask(operator, request_id="req_refused")).absence is None

    await eventually_async("the decisions are recorded", is_recorded)


async def test_traces_are_read_by_request_and_by_trace(
    servers: LedgerServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFERRY_TRACE_BUFFER_SPANS", "0")  # so that the ledger adds no span of its own
    async with servers.in_process(), servers.operator() as operator:
        await record(servers, operator)
        own = [each.name for each in served_request("req_own", "acme")]
        by_request = await ask(operator, request_id="req_own")
        assert (by_request.trace_id, names(by_request), by_request.omitted) == (TRACE, own, 0)
        by_trace = await ask(operator, trace_id=TRACE)
        assert (by_trace.request_id, by_trace.spans) == ("req_own", by_request.spans)
        assert by_request.spans[4].events[0].name == "first_token"
        assert names(await ask(operator, request_id="req_refused")) == ["operation 80"]

        rivals = await ask(operator, "rival", trace_id=TRACE)
        assert {each.span_id for each in rivals.spans}.isdisjoint(each.span_id for each in by_trace.spans)
        assert (rivals.request_id, len(rivals.spans)) == ("req_rival", 7)
        for stranger in ({"request_id": "req_own"}, {"trace_id": "4" * 32}):
            found = await ask(operator, "rival", **stranger)
            assert (found.spans, found.absence, found.trace_id) == ([], TraceAbsence.NO_RECORD, None)

        reasons = {
            id_: (await ask(operator, request_id=id_)).absence
            for id_ in ("req_dull", "req_lost", "req_old", "req_alone")
        }
        assert reasons == {
            "req_dull": TraceAbsence.NOT_SAMPLED,
            "req_lost": TraceAbsence.LOST,
            "req_old": TraceAbsence.EXPIRED,
            "req_alone": TraceAbsence.NO_TRACE_ID,
        }
        assert (await ask(operator, trace_id="2" * 32)).absence is TraceAbsence.LOST
        for wrong in ({}, {"request_id": "req_own", "trace_id": TRACE}):
            with pytest.raises(Refused) as caught:
                await ask(operator, **wrong)
            assert caught.value.refusal.code is ErrorCode.INVALID
        await check_command(servers, tmp_path)


async def check_command(servers: LedgerServers, folder: Path) -> None:
    environment = operator_environment(servers.installation)

    async def trace(*arguments: str) -> tuple[int, str, str]:
        ran = await keyferry("trace", *arguments, "--tenant", "acme", environment=environment, cwd=folder)
        return ran.status, ran.out, ran.err

    status, text, _ = await trace("req_own")
    assert status == 0
    assert "7 spans in 671 ms" in text
    assert "chat gpt-4o-mini  FAILED: overloaded" in text
    assert "* first_token after 187 ms" in text
    assert await trace(TRACE.upper()) == (0, text, "")
    assert "gen_ai.request.model             gpt-4o" in (await trace("req_own", "--attributes"))[1]
    status, document, _ = await trace("req_own", "--json")
    assert (status, len(json.loads(document)["spans"])) == (0, 7)
    status, out, problem = await trace("req_dull")
    assert (status, out) == (1, "")
    assert "the trace was not kept" in problem
    assert "-01" in problem
    status, out, problem = await trace("no such id")
    assert (status, out) == (1, "")
    assert "request_id: it should be 1 to 200 characters" in problem


async def test_a_trace_of_a_whole_day_is_read_up_to_a_limit(
    servers: LedgerServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages that cannot be decoded are counted and passed over."""
    monkeypatch.setenv("KEYFERRY_TRACE_BUFFER_SPANS", "0")
    monkeypatch.setattr(reading, "MAX_READ_BYTES", 40_000)
    monkeypatch.setattr(reading, "_PAGE", 20)
    own = {"keyferry.tenant": "acme", "keyferry.request_id": "req_many"}
    async with servers.in_process(), servers.operator() as operator, servers.worker() as worker:
        many = attempt_record(request_id="req_many", started_at=datetime.now(UTC), traceparent=traceparent(TRACE))
        await worker.publish([many.encode()])
        await worker.until_confirmed([many])
        jetstream = worker.client.jetstream()
        subject = SPANS_RECORDED.format(trace=TRACE, service=worker.user)
        await jetstream.publish(subject, b'{"spans": [{"name": "\\u0000"}]}')
        began = (time.time_ns() - int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1e9)) / 1e6
        for number in range(1, 201):
            one = span(number, None, began + number, began + number, attributes=own)
            await jetstream.publish(subject, SpanBatch(spans=[one]).encode())
        found = await ask(operator, trace_id=TRACE)
        assert len(found.spans) + found.omitted == 201
        assert 100 < len(found.spans) < 160
        assert found.spans[0].span_id == f"{1:016x}"
        found = await ask(operator, request_id="req_many")
        assert len(found.spans) + found.omitted == 201
