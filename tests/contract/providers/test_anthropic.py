"""What only Anthropic's adapter does, against recorded traffic."""

import json

import pytest

from services.provider_worker.adapters.anthropic.adapter import AnthropicAdapter
from tests.support.providers.adapter_replay import replay
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.recorded_traffic import Case, recorded_cases

CASES = recorded_cases("anthropic")
COMPLETE = [case for case in CASES if case.status < 400]
ADAPTER = AnthropicAdapter()


def test_enough_is_recorded() -> None:
    assert len(CASES) >= 19


@pytest.mark.parametrize("case", COMPLETE, ids=str)
def test_an_answer_has_its_model_and_finish_reason(case: Case) -> None:
    _, answer = replay(ADAPTER, case, 1)
    assert answer.failure is None
    assert answer.model_served
    assert answer.finish_reason


@pytest.mark.parametrize("case", [case for case in CASES if case.stream], ids=str)
def test_usage_is_the_last_chunk(case: Case) -> None:
    assert replay(ADAPTER, case, 1, include_usage=False)[0] == replay(ADAPTER, case, 1)[0][:-1]


@pytest.mark.parametrize(
    "case", [case for case in COMPLETE if "reasoning" in case.kind or case.kind == "vision"], ids=str
)
def test_thinking_is_sent_back_unchanged_in_a_follow_up_turn(case: Case) -> None:
    """Echo the answer, and expect the very blocks that Anthropic had sent."""
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
