"""What only Google's adapter does, against recorded traffic of AI Studio and Vertex."""

import json

import pytest

from services.provider_worker.adapters.adapter import UpstreamRequest
from services.provider_worker.adapters.gemini.adapter import AI_STUDIO, VERTEX, GeminiAdapter
from tests.support.providers.adapter_replay import replay
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.recorded_traffic import Case, recorded_cases

CASES = recorded_cases("gemini")
COMPLETE = [case for case in CASES if case.status < 400]
STREAMS = [case for case in CASES if case.stream]
ADAPTER = GeminiAdapter(AI_STUDIO)


def test_enough_is_recorded() -> None:
    assert len(CASES) >= 18


@pytest.mark.parametrize("case", CASES, ids=str)
def test_vertex_reads_the_same_as_ai_studio(case: Case) -> None:
    assert replay(ADAPTER, case, 3) == replay(GeminiAdapter(VERTEX), case, 3)


@pytest.mark.parametrize("case", COMPLETE, ids=str)
def test_token_counts_add_up_to_googles_total(case: Case) -> None:
    _, answer = replay(ADAPTER, case, 1)
    assert answer.failure is None
    if not case.stream and case.kind != "embeddings":
        assert answer.token_usage.total == json.loads(case.body)["usageMetadata"]["totalTokenCount"]


@pytest.mark.parametrize("case", COMPLETE, ids=str)
def test_an_answer_names_its_model(case: Case) -> None:
    _, answer = replay(ADAPTER, case, 1)
    assert answer.model_served == case.model
    assert (answer.finish_reason is None) == (case.kind == "embeddings")


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_chunks_have_openais_form(case: Case) -> None:
    chunks = [json.loads(chunk) for chunk in replay(ADAPTER, case, 4)[0]]
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert [bool(chunk["usage"]) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert [bool(chunk["choices"]) for chunk in chunks] == [True] * (len(chunks) - 1) + [False]


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_usage_is_one_more_chunk_if_requested(case: Case) -> None:
    with_usage, without_usage = replay(ADAPTER, case, 1)[0], replay(ADAPTER, case, 1, include_usage=False)[0]
    assert [chunk for chunk in without_usage if "usage" in json.loads(chunk)] == []
    assert len(without_usage) == len(with_usage) - 1


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_cut_stream_is_truncated_wherever_it_is_cut(case: Case) -> None:
    last = case.body.rstrip().rfind(b"data: ")
    for end in range(0, last + 20, max(last // 40, 1)):
        run = attempt_run(stream=True, model=case.model)
        reader = ADAPTER.reader(run, UpstreamRequest("https://provider.test", {}, b""), 200, {})
        reader.feed(case.body[:end])
        failure = reader.close().failure
        assert failure is not None
        assert failure.failure_class == "truncated"


@pytest.mark.parametrize("case", [case for case in CASES if case.status >= 400], ids=str)
def test_an_error_message_names_no_project(case: Case) -> None:
    _, answer = replay(ADAPTER, case, 0)
    assert answer.failure is not None
    assert answer.failure.message
    assert "fake-project" not in answer.failure.model_dump_json()
