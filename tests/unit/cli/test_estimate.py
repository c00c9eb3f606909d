"""What `keyferry estimate` prints, and what it reads."""

from decimal import Decimal
from pathlib import Path

import pytest

from keyferry.cli.estimate import _read_request, format_estimate
from keyferry.cli.main import run
from keyferry.cli.problem import Problem
from keyferry.contracts.estimates import CostEstimate, EstimatedChoice, EstimatedCost
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.usage import KeySource, RequestKind


def cost(source: KeySource, *amounts: str) -> EstimatedCost:
    low, high, low_credits, high_credits = map(Decimal, amounts)
    return EstimatedCost(
        key_source=source,
        low_cost_usd=low,
        high_cost_usd=high,
        low_charge_micro_usd=int(low_credits * 1000),
        high_charge_micro_usd=int(high_credits * 1000),
        low_credits=low_credits,
        high_credits=high_credits,
    )


def test_each_source_of_keys_is_a_line() -> None:
    costs = [
        cost(KeySource.BYOK, "0.00045", "0.00085", "0", "0"),
        cost(KeySource.PLATFORM, "0.0005", "0.0005", "0.09", "0.09"),
    ]
    found = CostEstimate(
        tenant="acme",
        model_asked="auto",
        input_tokens=1000,
        plan_version="v1",
        monthly_free_requests=50,
        named=EstimatedChoice(level=PowerLevel.ECO, model="gpt-5-nano", detail="", costs=costs),
        levels=[
            EstimatedChoice(level=PowerLevel.BALANCED, model="new", detail="chosen"),
            EstimatedChoice(level=PowerLevel.PRECISION, detail="nothing is good enough"),
        ],
    )
    head, table, precision, free = format_estimate(found)
    assert head == "acme, auto, about 1000 tokens of input"
    rows = [line.split("  ") for line in table.splitlines()[1:]]
    assert [[cell.strip() for cell in row if cell] for row in rows] == [
        ["this request", "gpt-5-nano", "byok", "$0.00045 to $0.00085", "0"],
        ["this request", "gpt-5-nano", "platform", "$0.0005", "0.09"],
        ["balanced", "new", "-", "unknown", "unknown"],
    ]
    assert precision == "precision: nothing is good enough"
    assert free == "50 requests a month on the platform's keys are free in this tier"


def test_a_file_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text('{"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}')
    model, features = _read_request(file, RequestKind.CHAT)
    assert (model, features.max_output_tokens) == ("auto", 9)
    file.write_text('{"model": 5, "input": [[1, 2]]}')
    model, features = _read_request(file, RequestKind.EMBEDDING)
    assert (model, features.input_tokens) == (None, 2)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"5", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"])
def test_a_file_that_is_no_request_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(content)
    with pytest.raises(Problem):
        _read_request(file, RequestKind.CHAT)
    with pytest.raises(Problem):
        _read_request(tmp_path / "missing.json", RequestKind.CHAT)


@pytest.mark.parametrize(
    "arguments", [[], ["--model", "auto"], ["--input-tokens", "-1"], ["--input-tokens", "5"], ["--model", "a b"]]
)
def test_too_little_to_estimate_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["estimate", "--tenant", "acme", *arguments]) in (1, 2)
    assert capsys.readouterr().err
