"""The Bedrock adapter against recorded traffic, judged by the recordings' own judge."""

import json

import pytest

from services.provider_worker.adapters.bedrock.adapter import BedrockAdapter
from tests.support.providers.adapter_replay import (
    assert_judged_right,
    assert_meters_add_up,
    assert_role_comes_once,
    assert_usage_only_when_asked,
    assert_wrong_lines_are_seen,
    replay,
)
from tests.support.providers.recorded_traffic import Case, recorded_cases

CASES = recorded_cases("bedrock")
STREAMS = [case for case in CASES if case.stream]
ADAPTER = BedrockAdapter()


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
def test_the_judge_accepts_what_the_adapter_makes_of_a_recording_however_it_is_cut(case: Case) -> None:
    assert_judged_right(ADAPTER, case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_meters_add_up_to_the_total_the_caller_sees(case: Case) -> None:
    assert_meters_add_up(ADAPTER, case)


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_caller_that_did_not_ask_for_usage_gets_none(case: Case) -> None:
    assert_usage_only_when_asked(ADAPTER, case)


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_the_role_comes_once_and_with_the_first_piece_of_the_answer(case: Case) -> None:
    assert_role_comes_once(ADAPTER, case)
    first = json.loads(replay(ADAPTER, case, 0)[0][0])["choices"][0]["delta"]
    assert any(value for name, value in first.items() if name != "role")


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
    assert_wrong_lines_are_seen(ADAPTER, case, text="another text")
