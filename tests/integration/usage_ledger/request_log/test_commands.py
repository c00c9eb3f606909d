"""The commands of requests, on a ledger that has recorded what a worker and a router sent."""

import asyncio
import csv
import json
import os
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.ledger_management import REQUEST_LIST, REQUEST_SHOW
from keyferry.contracts.request_log import ListRequests, RequestPage, ShowRequest
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.usage import Outcome, TokenUsage, UsageSource
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from tests.integration.cli.command import keyferry, operator_environment
from tests.integration.usage_ledger.processes import LedgerServers, Worker
from tests.integration.usage_ledger.request_log.ledger import refusal
from tests.support.ledger.attempt_records import attempt_record, decision_record
from tests.support.waiting import eventually_async

NOW = datetime.now(UTC)
COST = Decimal("0.0075")
"""1000 tokens of input at $2.50 and 500 of output at $10.00 a million."""


async def ask(operator: Bus, **query: object) -> RequestPage:
    return await operator.ask(
        REQUEST_LIST, ListRequests.model_validate({"tenant": "acme", **query}), timeout_seconds=10
    )


async def test_requests_are_listed_shown_exported_and_followed(servers: LedgerServers, tmp_path: Path) -> None:
    failure = Failure(failure_class=FailureClass.OVERLOADED, message="=try later\u202e")
    begin = NOW - timedelta(minutes=5)
    failed = attempt_record(
        request_id="req_tried-twice", outcome=Outcome.FAILED, failure=failure, started_at=begin, token_usage={},
        usage_source=UsageSource.NONE, first_token_ms=None,
    )  # fmt: skip
    answered = attempt_record(
        request_id="req_tried-twice", attempt_number=2, provider="openai", model="gpt-4o", model_asked="gpt-4o",
        token_usage=TokenUsage(input=1000, output=500), started_at=begin + timedelta(seconds=2),
        tags={"project": "größe"},
    )  # fmt: skip
    decided = decision_record(request_id="req_tried-twice", decided_at=begin)
    refused = refusal("no model is allowed", request_id="req_refused", decided_at=begin)
    environment = operator_environment(servers.installation)

    async with servers.in_process(), servers.operator() as operator, servers.worker() as worker:
        await worker.publish([failed.encode(), answered.encode()])
        await worker.until_confirmed([failed, answered])
        await servers.decide([decided.encode(), refused.encode()])

        async def all_recorded() -> bool:
            return len((await ask(operator)).requests) == 2

        await eventually_async("both requests are listed", all_recorded)
        shown = await operator.ask(
            REQUEST_SHOW, ShowRequest(tenant="acme", request_id="req_tried-twice"), timeout_seconds=10
        )
        assert shown.request is not None
        assert (shown.request.outcome, shown.request.cost_usd, len(shown.decisions)) == ("completed", COST, 1)
        (first, second) = shown.arithmetic
        assert (first.pricing, first.lines, first.cost_usd) == ("free", [], Decimal(0))
        assert [(line.kind, line.tokens, line.usd_per_million, line.cost_usd) for line in second.lines] == [
            ("input", 1000, Decimal("2.5"), Decimal("0.0025")),
            ("output", 500, Decimal(10), Decimal("0.005")),
        ]
        assert sum(line.cost_usd for line in second.lines) == second.cost_usd == COST
        for wrong in ({"after": "nonsense"}, {"since": begin, "until": begin}):
            with pytest.raises(Refused) as caught:
                await ask(operator, **wrong)
            assert caught.value.refusal.code is ErrorCode.INVALID

        listed = await keyferry(
            "requests", "list", "--tenant", "acme", "--count", environment=environment, cwd=tmp_path
        )
        assert listed.status == 0, listed.err
        assert "2 requests match" in listed.out
        assert "gpt-4o" in listed.out
        filtered = await keyferry(
            *("requests", "list", "--tenant", "acme", "--tag", "project=größe", "--text", "TRY", "--json"),
            environment=environment, cwd=tmp_path,
        )  # fmt: skip
        assert json.loads(filtered.out)["requests"] == []
        found = await keyferry(
            *("requests", "list", "--tenant", "acme", "--tag", "project=größe", "--since", "1h", "--json"),
            environment=environment, cwd=tmp_path,
        )  # fmt: skip
        assert [one["request_id"] for one in json.loads(found.out)["requests"]] == ["req_tried-twice"]
        text = await keyferry(
            "requests", "show", "req_tried-twice", "--tenant", "acme", environment=environment, cwd=tmp_path
        )
        assert "1000 x $2.5 / 1000000 = $0.0025" in text.out
        assert "cost           $0.0075 at prices" in text.out
        missing = await keyferry("requests", "show", "req_x", "--tenant", "acme", environment=environment, cwd=tmp_path)
        assert missing.status == 1

        await export_and_read(environment, tmp_path)
        await follow(worker, environment, tmp_path)


async def export_and_read(environment: Mapping[str, str], folder: Path) -> None:
    file = folder / "requests.csv"

    async def is_settled() -> bool:
        ran = await keyferry(
            *("requests", "export", "--tenant", "acme", "--tz", "Asia/Kathmandu", "--output", str(file)),
            environment=environment, cwd=folder,
        )  # fmt: skip
        assert ran.status == 0, ran.err
        return "exported 2 requests, 3 rows" in ran.err

    await eventually_async("everything is two seconds old", is_settled)
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert sorted(row["outcome"] for row in rows) == ["completed", "failed", "refused"]
    assert sum(Decimal(row["cost_usd"] or 0) for row in rows) == COST
    assert {row["time"][-6:] for row in rows} == {"+05:45"}
    assert next(row["error"] for row in rows if row["outcome"] == "failed").startswith("'=try later")
    assert not file.with_name("requests.csv.part").exists()


async def follow(worker: Worker, environment: Mapping[str, str], folder: Path) -> None:
    """A new request appears, and Ctrl-C ends the command."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEYFERRY_")}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "keyferry.cli.main", "requests", "tail", "--tenant", "acme"),
        env={**clean, **environment}, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    async with asyncio.timeout(60):
        assert (await child.stdout.readline()).startswith(b"TIME")
        new = attempt_record(request_id="req_new", started_at=datetime.now(UTC) + timedelta(seconds=1))
        await worker.publish([new.encode()])
        assert b"req_new" in await child.stdout.readline()
        child.send_signal(signal.SIGINT)
        rest, errors = await child.communicate()
    assert (rest, errors.split(), child.returncode) == (b"", [b"stopped"], 130)
