"""The OpenAI-compatible adapter against recorded traffic, judged by the recordings' own judge: each provider by its own row."""

import pytest

from keyferry.contracts.usage import RequestKind, UsageSource
from services.provider_worker.adapters.adapter import Adapter
from services.provider_worker.adapters.registry import ADAPTERS, adapter_for
from services.provider_worker.replay.outcome import describe_outcome
from services.provider_worker.replay.recording import caller_body, parse_recording
from tests.support.providers.adapter_replay import (
    REPLAYS,
    assert_judged_right,
    assert_usage_only_when_asked,
    judge_line,
    replay,
)
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.recorded_traffic import (
    Case,
    chat_cases,
    folder,
    line_of_error,
    mismatches,
    rechunked,
    recorded_cases,
)

JUDGED = chat_cases("openai", "openrouter")
FAMILY = chat_cases(
    "groq", "azure", "mistral", "deepseek", "together", "xai", "ollama", "vllm", "llamacpp", "perplexity", "huggingface",
    "openai_compatible",
)  # fmt: skip
EMBEDDINGS = [case for case in recorded_cases("openrouter", "ollama", "vllm", "llamacpp") if "embed" in case.endpoint]


def adapter_of(case: Case) -> Adapter:
    return adapter_for(case.provider if case.provider in ADAPTERS else "custom")


def test_both_providers_are_recorded_in_full() -> None:
    assert {case.provider for case in JUDGED} == {"openai", "openrouter"}
    assert len(JUDGED) >= 28


@pytest.mark.parametrize("case", [*JUDGED, *FAMILY], ids=str)
def test_the_judge_accepts_what_the_adapter_makes_of_a_recording_however_it_is_cut(case: Case) -> None:
    assert_judged_right(adapter_of(case), case)


def test_the_family_is_recorded_in_full() -> None:
    assert len([*JUDGED, *FAMILY, *EMBEDDINGS]) >= 84
    assert len(EMBEDDINGS) >= 4


@pytest.mark.parametrize("case", EMBEDDINGS, ids=str)
def test_the_judge_accepts_what_the_adapter_makes_of_embeddings(case: Case) -> None:
    recorded = parse_recording((folder() / "cases" / case.provider / f"{case.name}.json").read_bytes(), case.name)
    run = attempt_run(model=case.model, kind=RequestKind.EMBEDDING)
    adapter = adapter_for(case.provider)
    request = adapter.request(run, caller_body(recorded))
    for seed in range(REPLAYS):
        reader = adapter.reader(run, request, case.status, case.headers)
        for piece in rechunked(case.body, seed):
            assert reader.feed(piece) == []
        assert mismatches(case, describe_outcome(recorded, [], reader.close())) == [], f"seed {seed}"


@pytest.mark.parametrize("case", [*JUDGED, *FAMILY], ids=str)
def test_the_meters_add_up_to_the_total_the_caller_sees(case: Case) -> None:
    chunks, answer = replay(adapter_of(case), case, 1)
    if answer.failure is not None or answer.usage_source is UsageSource.NONE:
        assert answer.token_usage.total == 0 or answer.usage_source is UsageSource.REPORTED
        return
    line = judge_line(case, chunks, answer)
    usage = line["usage"]
    assert isinstance(usage, dict)
    assert answer.token_usage.total == usage["total_tokens"]


@pytest.mark.parametrize("case", [case for case in [*JUDGED, *FAMILY] if case.stream], ids=str)
def test_a_caller_that_did_not_ask_for_usage_gets_none(case: Case) -> None:
    assert_usage_only_when_asked(adapter_of(case), case)


@pytest.mark.parametrize("case", [case for case in JUDGED if case.status >= 400], ids=str)
def test_a_message_for_the_tenant_names_no_key_and_no_account(case: Case) -> None:
    _, answer = replay(adapter_of(case), case, 0)
    assert answer.failure is not None
    assert answer.failure.message
    for secret in ("sk-REDACTED", "user_REDACTED", "org-REDACTED"):
        assert secret not in answer.failure.model_dump_json()


def test_the_judge_sees_a_wrong_answer() -> None:
    case = next(case for case in JUDGED if case.kind == "stream" and case.provider == "openrouter")
    chunks, answer = replay(adapter_of(case), case, 0)
    line = judge_line(case, chunks[:-1], answer)
    assert mismatches(case, {**line, "text": "another text"}) != []
    assert mismatches(case, {**line, "usage": {}}) != []
    assert (
        mismatches(case, line_of_error(case, status=500, judged_class="server", where="mid_stream", retry_after_ms=0))
        != []
    )
