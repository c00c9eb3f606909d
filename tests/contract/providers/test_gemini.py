"""The adapter for Google's generateContent against recorded traffic of AI Studio and Vertex, judged by its own judge."""

import json

import pytest

from keyferry.contracts.usage import Basis, RequestKind
from services.provider_worker.adapters.adapter import Answer, UpstreamRequest
from services.provider_worker.adapters.failures import judged_class
from services.provider_worker.adapters.gemini.adapter import AI_STUDIO, VERTEX, GeminiAdapter
from tests.support.attempt_runs import attempt_run
from tests.support.provider_traffic import (
    Case,
    JsonObject,
    line_of_chunks,
    line_of_completion,
    line_of_embeddings,
    line_of_error,
    mismatches,
    rechunked,
    recorded_cases,
)

CASES = recorded_cases("gemini")
WHOLE = [case for case in CASES if case.status < 400]
STREAMS = [case for case in CASES if case.stream]
SEEDS = 50


def kind_of(case: Case) -> RequestKind:
    return RequestKind.EMBEDDING if case.kind == "embeddings" else RequestKind.CHAT


def replay(
    case: Case, seed: int, *, include_usage: bool = True, adapter: GeminiAdapter | None = None
) -> tuple[list[bytes], Answer]:
    run = attempt_run(stream=case.stream, include_usage=include_usage, model=case.model, kind=kind_of(case))
    request = UpstreamRequest("https://provider.test", {}, b"")
    reader = (adapter or GeminiAdapter(AI_STUDIO)).reader(run, request, case.status, case.headers)
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
    document = json.loads(answer.body)
    return line_of_embeddings(case, document) if case.kind == "embeddings" else line_of_completion(case, document)


def test_every_kind_of_traffic_is_recorded() -> None:
    assert len(CASES) >= 18
    assert {case.kind for case in CASES} >= {
        "cache", "chat", "embeddings", "error", "reasoning", "reasoning_stream", "stream", "structured", "tools",
        "tools_stream",
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_judge_accepts_what_the_adapter_makes_of_a_recording(case: Case) -> None:
    for seed in range(SEEDS):
        chunks, answer = replay(case, seed)
        assert mismatches(case, judge_line(case, chunks, answer)) == [], f"seed {seed}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_rows_of_the_adapter_read_alike(case: Case) -> None:
    assert replay(case, 3) == replay(case, 3, adapter=GeminiAdapter(VERTEX))


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_the_meters_add_up_to_the_total_the_caller_sees_and_google_says(case: Case) -> None:
    chunks, answer = replay(case, seed=1)
    assert answer.failure is None
    assert answer.basis is Basis.REPORTED
    usage = judge_line(case, chunks, answer)["usage"]
    assert isinstance(usage, dict)
    assert answer.meters.total == usage["total_tokens"] > 0
    assert answer.meters.prompt == usage["prompt_tokens"]
    if not case.stream and kind_of(case) is RequestKind.CHAT:
        assert answer.meters.total == json.loads(case.body)["usageMetadata"]["totalTokenCount"]


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_an_answer_says_which_model_it_is_from(case: Case) -> None:
    _, answer = replay(case, seed=1)
    assert answer.model_served == case.model
    assert (answer.finish_reason is None) == (case.kind == "embeddings")


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_of_chunks_has_the_form_that_openais_clients_read(case: Case) -> None:
    chunks = [json.loads(chunk) for chunk in replay(case, seed=4)[0]]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [chunk for chunk in chunks[1:] if chunk["choices"] and "role" in chunk["choices"][0]["delta"]] == []
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert [bool(chunk["usage"]) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert [bool(chunk["choices"]) for chunk in chunks] == [True] * (len(chunks) - 1) + [False]


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_caller_that_did_not_ask_for_usage_gets_none(case: Case) -> None:
    asked, answer_asked = replay(case, seed=1)
    chunks, answer = replay(case, seed=1, include_usage=False)
    documents = [json.loads(chunk) for chunk in chunks]
    assert [document for document in documents if "usage" in document] == []
    assert answer == answer_asked
    assert len(chunks) == len(asked) - 1


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_that_is_cut_is_never_taken_for_a_whole_one(case: Case) -> None:
    last = case.body.rstrip().rfind(b"data: ")
    for end in range(0, last + 20, max(last // 40, 1)):
        run = attempt_run(stream=True, model=case.model)
        reader = GeminiAdapter(AI_STUDIO).reader(run, UpstreamRequest("https://provider.test", {}, b""), 200, {})
        reader.feed(case.body[:end])
        failure = reader.close().failure
        assert failure is not None
        assert failure.failure_class == "truncated"


@pytest.mark.parametrize("case", [case for case in CASES if case.status >= 400], ids=str)
def test_a_message_for_the_tenant_names_no_project(case: Case) -> None:
    _, answer = replay(case, seed=0)
    assert answer.failure is not None
    assert answer.failure.message
    assert "fake-project" not in answer.failure.model_dump_json()


def test_the_judge_sees_a_wrong_answer() -> None:
    case = next(case for case in CASES if case.kind == "tools_stream")
    chunks, answer = replay(case, seed=0)
    line = judge_line(case, chunks, answer)
    assert mismatches(case, {**line, "tool_calls": []}) != []
    assert mismatches(case, {**line, "usage": {}}) != []
    assert mismatches(case, {**line, "finish_reason": "stop"}) != []
