"""The adapter for Google's generateContent against recorded traffic of AI Studio and Vertex, judged by its own judge."""

import json

import pytest

from services.provider_worker.adapters.adapter import UpstreamRequest
from services.provider_worker.adapters.gemini.adapter import AI_STUDIO, VERTEX, GeminiAdapter
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

CASES = recorded_cases("gemini")
WHOLE = [case for case in CASES if case.status < 400]
STREAMS = [case for case in CASES if case.stream]
ADAPTER = GeminiAdapter(AI_STUDIO)


def test_every_kind_of_traffic_is_recorded() -> None:
    assert len(CASES) >= 18
    assert {case.kind for case in CASES} >= {
        "cache", "chat", "embeddings", "error", "reasoning", "reasoning_stream", "stream", "structured", "tools",
        "tools_stream",
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_judge_accepts_what_the_adapter_makes_of_a_recording_however_it_is_cut(case: Case) -> None:
    assert_judged_right(ADAPTER, case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_rows_of_the_adapter_read_alike(case: Case) -> None:
    assert replay(ADAPTER, case, 3) == replay(GeminiAdapter(VERTEX), case, 3)


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_the_meters_add_up_to_the_total_the_caller_sees_and_google_says(case: Case) -> None:
    assert_meters_add_up(ADAPTER, case)
    _, answer = replay(ADAPTER, case, 1)
    assert answer.failure is None
    if not case.stream and case.kind != "embeddings":
        assert answer.token_usage.total == json.loads(case.body)["usageMetadata"]["totalTokenCount"]


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_an_answer_says_which_model_it_is_from(case: Case) -> None:
    _, answer = replay(ADAPTER, case, 1)
    assert answer.model_served == case.model
    assert (answer.finish_reason is None) == (case.kind == "embeddings")


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_of_chunks_has_the_form_that_openais_clients_read(case: Case) -> None:
    assert_role_comes_once(ADAPTER, case)
    chunks = [json.loads(chunk) for chunk in replay(ADAPTER, case, 4)[0]]
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert [bool(chunk["usage"]) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert [bool(chunk["choices"]) for chunk in chunks] == [True] * (len(chunks) - 1) + [False]


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_caller_that_did_not_ask_for_usage_gets_none(case: Case) -> None:
    assert_usage_only_when_asked(ADAPTER, case)
    asked, unasked = replay(ADAPTER, case, 1)[0], replay(ADAPTER, case, 1, include_usage=False)[0]
    assert [chunk for chunk in unasked if "usage" in json.loads(chunk)] == []
    assert len(unasked) == len(asked) - 1


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_that_is_cut_is_never_taken_for_a_whole_one(case: Case) -> None:
    last = case.body.rstrip().rfind(b"data: ")
    for end in range(0, last + 20, max(last // 40, 1)):
        run = attempt_run(stream=True, model=case.model)
        reader = ADAPTER.reader(run, UpstreamRequest("https://provider.test", {}, b""), 200, {})
        reader.feed(case.body[:end])
        failure = reader.close().failure
        assert failure is not None
        assert failure.failure_class == "truncated"


@pytest.mark.parametrize("case", [case for case in CASES if case.status >= 400], ids=str)
def test_a_message_for_the_tenant_names_no_project(case: Case) -> None:
    _, answer = replay(ADAPTER, case, 0)
    assert answer.failure is not None
    assert answer.failure.message
    assert "fake-project" not in answer.failure.model_dump_json()


def test_the_judge_sees_a_wrong_answer() -> None:
    case = next(case for case in CASES if case.kind == "tools_stream")
    assert_wrong_lines_are_seen(ADAPTER, case, tool_calls=[], finish_reason="stop")
