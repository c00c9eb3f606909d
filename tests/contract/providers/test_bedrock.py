"""The Bedrock adapter against recorded traffic, judged by the recordings' own judge."""

import json

import pytest

from keyferry.contracts.usage import Basis
from services.provider_worker.adapters.bedrock.adapter import BedrockAdapter
from tests.support.adapter_replay import judge_line, replay
from tests.support.provider_traffic import Case, line_of_chunks, mismatches, recorded_cases

CASES = recorded_cases("bedrock")
STREAMS = [case for case in CASES if case.stream]
ADAPTER = BedrockAdapter()
SEEDS = 50


def test_every_kind_that_was_recorded_is_here() -> None:
    assert {case.kind for case in CASES} >= {
        "cache",
        "chat",
        "error",
        "reasoning",
        "reasoning_stream",
        "stream",
        "tools",
        "tools_stream",
        "vision",
    }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_judge_accepts_what_the_adapter_makes_of_a_recording(case: Case) -> None:
    for seed in range(SEEDS):
        chunks, answer = replay(ADAPTER, case, seed)
        assert mismatches(case, judge_line(case, chunks, answer)) == [], f"seed {seed}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_any_cutting_gives_the_same_chunks_and_the_same_answer(case: Case) -> None:
    whole = replay(ADAPTER, case, 0)
    for seed in range(1, SEEDS):
        assert replay(ADAPTER, case, seed) == whole, f"seed {seed}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_meters_add_up_to_the_total_the_caller_sees(case: Case) -> None:
    chunks, answer = replay(ADAPTER, case, 1)
    if answer.failure is not None:
        assert answer.basis is Basis.NONE
        assert answer.meters.total == 0
        return
    usage = judge_line(case, chunks, answer)["usage"]
    assert isinstance(usage, dict)
    assert answer.basis is Basis.REPORTED
    assert answer.meters.total == usage["total_tokens"] > 0


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_caller_that_did_not_ask_for_usage_gets_none(case: Case) -> None:
    asked, answer_asked = replay(ADAPTER, case, 1)
    chunks, answer = replay(ADAPTER, case, 1, include_usage=False)
    documents = [json.loads(chunk) for chunk in chunks]
    assert [document for document in documents if document.get("usage")] == []
    assert answer == answer_asked
    line, line_asked = line_of_chunks(case, documents), line_of_chunks(case, [json.loads(chunk) for chunk in asked])
    assert {**line, "usage": None} == {**line_asked, "usage": None}


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_the_role_comes_once_and_with_the_first_piece_of_the_answer(case: Case) -> None:
    chunks, _ = replay(ADAPTER, case, 0)
    deltas = [choice["delta"] for chunk in chunks for choice in json.loads(chunk)["choices"]]
    assert [("role" in delta) for delta in deltas] == [True] + [False] * (len(deltas) - 1)
    assert any(value for name, value in deltas[0].items() if name != "role")


@pytest.mark.parametrize("case", [case for case in STREAMS if case.kind != "error"], ids=str)
def test_a_stream_that_stops_early_is_truncated(case: Case) -> None:
    for share in (0.2, 0.5, 0.8):
        cut = Case(**{**vars(case), "body": case.body[: int(len(case.body) * share)]})
        _, answer = replay(ADAPTER, cut, 3)
        if answer.finish_reason is None:
            assert answer.failure is not None
            assert answer.failure.failure_class == "truncated"


def test_the_judge_sees_a_wrong_answer() -> None:
    case = next(case for case in STREAMS if case.kind == "stream")
    chunks, answer = replay(ADAPTER, case, 0)
    line = judge_line(case, chunks, answer)
    assert mismatches(case, line) == []
    assert mismatches(case, {**line, "text": "another text"}) != []
    assert mismatches(case, {**line, "usage": {}}) != []
