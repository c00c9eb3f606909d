"""`keyferry chat` over a real bus: the answer, the explanation, and the wait for the ledger."""

import json
from pathlib import Path

import pytest

from keyferry.contracts.topology import Role
from tests.integration.cli.answering import whole_system
from tests.integration.cli.command import keyferry, operator_environment
from tests.support.ledger.request_records import TRACE_ID
from tests.support.servers.provisioned_bus import ProvisionedBus


async def test_answer_is_followed_by_its_trace(bus: ProvisionedBus, tmp_path: Path) -> None:
    async with whole_system(bus, ledger_lags=3):
        ran = await keyferry("chat", "hello there", "--explain", environment=operator_environment(bus), cwd=tmp_path)
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "hello there"
    assert "  chosen: echo, no key needed" in lines
    assert "     cost     $0.000012 at prices 2026-01" in lines
    assert f"Trace     {TRACE_ID}" in lines


async def test_unstreamed_and_json_output(bus: ProvisionedBus, tmp_path: Path) -> None:
    async with whole_system(bus):
        whole = await keyferry("chat", "hello", "--no-stream", environment=operator_environment(bus), cwd=tmp_path)
        data = await keyferry(
            "chat", "hello", "--json", "--explain", environment=operator_environment(bus), cwd=tmp_path
        )
    assert (whole.status, whole.out) == (0, "hello\n")
    document = json.loads(data.out)
    assert (document["text"], document["finish_reason"], document["failure"]) == ("hello", "stop", None)
    assert document["trace"]["request_id"] == document["request_id"]
    assert document["trace"]["attempts"][0]["cost_usd"] == "0.000012"


async def test_json_has_usage_and_cost_from_the_ledger(bus: ProvisionedBus, tmp_path: Path) -> None:
    async with whole_system(bus, ledger_lags=2):
        ran = await keyferry("chat", "hello", "--json", environment=operator_environment(bus), cwd=tmp_path)
    assert (ran.status, ran.err) == (0, "")
    document = json.loads(ran.out)
    request_id = document.pop("request_id")
    assert request_id.startswith("req_")
    assert document == {
        "text": "hello",
        "model": "echo",
        "provider": "echo",
        "finish_reason": "stop",
        "attempts": 1,
        "usage": {"prompt_tokens": 7, "completion_tokens": 7, "total_tokens": 14, "source": "reported"},
        "cost_usd": "0.000012",
        "failure": None,
    }


async def test_missing_router_is_reported(bus: ProvisionedBus, tmp_path: Path) -> None:
    async with whole_system(bus, without=Role.ROUTER):
        ran = await keyferry("chat", "hello", environment=operator_environment(bus), cwd=tmp_path)
    assert ran.status == 1
    assert "no router is running" in ran.err
    assert "keyferry doctor" in ran.err


async def test_incomplete_trace_is_reported_after_a_timeout(
    bus: ProvisionedBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyferry.cli.chat.TRACE_TIMEOUT_SECONDS", 0.5)
    async with whole_system(bus, ledger_lags=1_000_000):
        ran = await keyferry("chat", "hello", "--explain", environment=operator_environment(bus), cwd=tmp_path)
    assert ran.status == 1
    assert ran.out.splitlines()[0] == "hello"
    assert "after 0.5 s the decision record and the attempt's row of this request had not reached the ledger" in ran.err
    assert "Nothing is lost" in ran.err
