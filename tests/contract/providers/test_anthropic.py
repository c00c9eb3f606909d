"""The adapter for Anthropic's Messages API against recorded traffic, judged by the recordings' own judge."""

import json

import pytest

from services.provider_worker.adapters.anthropic.adapter import AnthropicAdapter
from tests.support.providers.adapter_replay import (
    assert_judged_right,
    assert_meters_add_up,
    assert_role_comes_once,
    assert_usage_only_when_asked,
    assert_wrong_lines_are_seen,
    replay,
)
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.recorded_traffic import Case, recorded_cases

CASES = recorded_cases("anthropic")
WHOLE = [case for case in CASES if case.status < 400]
ADAPTER = AnthropicAdapter()


def test_every_kind_of_traffic_is_recorded() -> None:
    assert len(CASES) >= 19
    assert {case.kind for case in CASES} >= {
        "cache", "chat", "error", "reasoning", "reasoning_stream", "stream", "tools", "tools_stream", "vision",
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_judge_accepts_what_the_adapter_makes_of_a_recording_however_it_is_cut(case: Case) -> None:
    assert_judged_right(ADAPTER, case)


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_the_meters_add_up_to_the_total_the_caller_sees(case: Case) -> None:
    assert_meters_add_up(ADAPTER, case)
    _, answer = replay(ADAPTER, case, 1)
    assert answer.failure is None
    assert answer.model_served
    assert answer.finish_reason


@pytest.mark.parametrize("case", [case for case in CASES if case.stream], ids=str)
def test_a_caller_that_did_not_ask_for_usage_gets_none(case: Case) -> None:
    assert_usage_only_when_asked(ADAPTER, case)
    assert replay(ADAPTER, case, 1, include_usage=False)[0] == replay(ADAPTER, case, 1)[0][:-1]


@pytest.mark.parametrize("case", [case for case in CASES if case.stream], ids=str)
def test_the_role_comes_once(case: Case) -> None:
    assert_role_comes_once(ADAPTER, case)


@pytest.mark.parametrize("case", [case for case in WHOLE if "reasoning" in case.kind or case.kind == "vision"], ids=str)
def test_thinking_comes_back_as_it_was_in_a_follow_up_turn(case: Case) -> None:
    """What an answer told the caller is echoed, and the request holds the very blocks that Anthropic had sent."""
    chunks, answer = replay(ADAPTER, case, 0)
    if case.stream:
        deltas = [json.loads(chunk)["choices"][0]["delta"] for chunk in chunks[:-1]]
        details = [detail for delta in deltas for detail in delta.get("reasoning_details", [])]
        content = "".join(delta.get("content", "") for delta in deltas)
        message = {"role": "assistant", "content": content, "reasoning_details": details}
    else:
        message = json.loads(answer.body)["choices"][0]["message"]
    user = {"role": "user", "content": "go on"}
    body = json.dumps({"messages": [user, message, user]}).encode()
    sent = json.loads(ADAPTER.request(attempt_run(model=case.model), body).content)
    blocks = sent["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["thinking", "text"]
    if case.stream:
        signatures = [json.loads(line[6:]) for line in case.body.splitlines() if b"signature_delta" in line]
        assert blocks[0]["signature"] == "".join(event["delta"]["signature"] for event in signatures)
    else:
        assert blocks == json.loads(case.body)["content"]


def test_the_judge_sees_a_wrong_answer() -> None:
    case = next(case for case in CASES if case.kind == "tools_stream")
    assert_wrong_lines_are_seen(ADAPTER, case, tool_calls=[])
