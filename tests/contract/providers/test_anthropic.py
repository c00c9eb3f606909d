"""The adapter for Anthropic's Messages API against recorded traffic, judged by the recordings' own judge."""

import json

import pytest

from keyferry.contracts.usage import Basis
from services.provider_worker.adapters.adapter import Answer, UpstreamRequest
from services.provider_worker.adapters.anthropic.adapter import AnthropicAdapter
from services.provider_worker.adapters.failures import judged_class
from tests.support.attempt_runs import attempt_run
from tests.support.provider_traffic import (
    Case,
    JsonObject,
    line_of_chunks,
    line_of_completion,
    line_of_error,
    mismatches,
    rechunked,
    recorded_cases,
)

CASES = recorded_cases("anthropic")
WHOLE = [case for case in CASES if case.status < 400]
SEEDS = 50


def replay(case: Case, seed: int, *, include_usage: bool = True) -> tuple[list[bytes], Answer]:
    run = attempt_run(stream=case.stream, include_usage=include_usage, model=case.model)
    request = UpstreamRequest("https://provider.test", {}, b"")
    reader = AnthropicAdapter().reader(run, request, case.status, case.headers)
    chunks: list[bytes] = []
    for piece in rechunked(case.body, seed):
        chunks += reader.feed(piece)
        if reader.over:
            break
    return chunks, reader.close()


def judge_line(case: Case, chunks: list[bytes], answer: Answer) -> JsonObject:
    if answer.failure is not None:
        failure = answer.failure
        return line_of_error(
            case,
            status=failure.status,
            judged_class=judged_class(failure.failure_class),
            where=failure.where,
            retry_after_ms=failure.retry_after_ms,
        )
    if case.stream:
        return line_of_chunks(case, [json.loads(chunk) for chunk in chunks])
    return line_of_completion(case, json.loads(answer.body))


def test_every_kind_of_traffic_is_recorded() -> None:
    assert len(CASES) >= 19
    assert {case.kind for case in CASES} >= {
        "cache", "chat", "error", "reasoning", "reasoning_stream", "stream", "tools", "tools_stream", "vision",
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_judge_accepts_what_the_adapter_makes_of_a_recording(case: Case) -> None:
    for seed in range(SEEDS):
        chunks, answer = replay(case, seed)
        assert mismatches(case, judge_line(case, chunks, answer)) == [], f"seed {seed}"


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_the_meters_add_up_to_the_total_the_caller_sees(case: Case) -> None:
    chunks, answer = replay(case, seed=1)
    assert answer.failure is None
    assert answer.basis is Basis.REPORTED
    usage = judge_line(case, chunks, answer)["usage"]
    assert isinstance(usage, dict)
    assert answer.meters.total == usage["total_tokens"] > 0
    assert answer.meters.prompt == usage["prompt_tokens"]
    assert answer.model_served
    assert answer.finish_reason


@pytest.mark.parametrize("case", [case for case in CASES if case.stream], ids=str)
def test_a_caller_that_did_not_ask_for_usage_gets_none(case: Case) -> None:
    asked, answer_asked = replay(case, seed=1)
    chunks, answer = replay(case, seed=1, include_usage=False)
    documents = [json.loads(chunk) for chunk in chunks]
    assert chunks == asked[:-1]
    assert [document for document in documents if document.get("usage")] == []
    assert answer == answer_asked
    assert documents[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [d["choices"][0]["delta"].get("role") for d in documents[1:]] == [None] * (len(documents) - 1)


@pytest.mark.parametrize("case", [case for case in WHOLE if "reasoning" in case.kind or case.kind == "vision"], ids=str)
def test_thinking_comes_back_as_it_was_in_a_follow_up_turn(case: Case) -> None:
    """What an answer told the caller is echoed, and the request holds the very blocks that Anthropic had sent."""
    chunks, answer = replay(case, seed=0)
    if case.stream:
        deltas = [json.loads(chunk)["choices"][0]["delta"] for chunk in chunks[:-1]]
        details = [detail for delta in deltas for detail in delta.get("reasoning_details", [])]
        content = "".join(delta.get("content", "") for delta in deltas)
        message = {"role": "assistant", "content": content, "reasoning_details": details}
    else:
        message = json.loads(answer.body)["choices"][0]["message"]
    user = {"role": "user", "content": "go on"}
    body = json.dumps({"messages": [user, message, user]}).encode()
    sent = json.loads(AnthropicAdapter().request(attempt_run(model=case.model), body).content)
    blocks = sent["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["thinking", "text"]
    if case.stream:
        signatures = [json.loads(line[6:]) for line in case.body.splitlines() if b"signature_delta" in line]
        assert blocks[0]["signature"] == "".join(event["delta"]["signature"] for event in signatures)
    else:
        assert blocks == json.loads(case.body)["content"]


def test_the_judge_sees_a_wrong_answer() -> None:
    case = next(case for case in CASES if case.kind == "tools_stream")
    chunks, answer = replay(case, seed=0)
    line = judge_line(case, chunks, answer)
    assert mismatches(case, line) == []
    assert mismatches(case, {**line, "tool_calls": []}) != []
    assert mismatches(case, {**line, "usage": {}}) != []
