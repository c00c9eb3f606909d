"""The OpenAI-compatible adapter against recorded traffic, each provider by its own row."""

import pytest

from keyferry.contracts.usage import RequestKind, UsageSource
from services.provider_worker.adapters.adapter import Adapter
from services.provider_worker.adapters.registry import ADAPTERS, adapter_for
from services.provider_worker.replay.outcome import describe_outcome
from services.provider_worker.replay.recording import caller_body, parse_recording
from tests.support.providers.adapter_replay import (
    REPLAYS,
    assert_matches_expectation,
    assert_usage_only_when_requested,
    outcome_line,
    replay,
)
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.recorded_traffic import (
    Case,
    chat_cases,
    folder,
    line_of_error,
    mismatches,
    rechunk,
    recorded_cases,
)

MAIN = chat_cases("openai", "openrouter")
OTHERS = chat_cases(
    "groq", "azure", "mistral", "deepseek", "together", "xai", "ollama", "vllm", "llamacpp", "perplexity", "huggingface",
    "openai_compatible",
)  # fmt: skip
EMBEDDINGS = [case for case in recorded_cases("openrouter", "ollama", "vllm", "llamacpp") if "embed" in case.endpoint]


def adapter_of(case: Case) -> Adapter:
    return adapter_for(case.provider if case.provider in ADAPTERS else "custom")


def test_the_main_providers_are_recorded() -> None:
    assert {case.provider for case in MAIN} == {"openai", "openrouter"}
    assert len(MAIN) >= 28


@pytest.mark.parametrize("case", [*MAIN, *OTHERS], ids=str)
def test_a_recording_matches_its_expectation_however_it_is_cut(case: Case) -> None:
    assert_matches_expectation(adapter_of(case), case)


def test_enough_is_recorded() -> None:
    assert len([*MAIN, *OTHERS, *EMBEDDINGS]) >= 84
    assert len(EMBEDDINGS) >= 4


@pytest.mark.parametrize("case", EMBEDDINGS, ids=str)
def test_recorded_embeddings_match_their_expectation(case: Case) -> None:
    recorded = parse_recording((folder() / "cases" / case.provider / f"{case.name}.json").read_bytes(), case.name)
    run = attempt_run(model=case.model, kind=RequestKind.EMBEDDING)
    adapter = adapter_for(case.provider)
    request = adapter.request(run, caller_body(recorded))
    for seed in range(REPLAYS):
        reader = adapter.reader(run, request, case.status, case.headers)
        for piece in rechunk(case.body, seed):
            assert reader.feed(piece) == []
        assert mismatches(case, describe_outcome(recorded, [], reader.close())) == [], f"seed {seed}"


@pytest.mark.parametrize("case", [*MAIN, *OTHERS], ids=str)
def test_token_counts_add_up_to_the_callers_total(case: Case) -> None:
    chunks, answer = replay(adapter_of(case), case, 1)
    if answer.failure is not None or answer.usage_source is UsageSource.NONE:
        assert answer.token_usage.total == 0 or answer.usage_source is UsageSource.REPORTED
        return
    line = outcome_line(case, chunks, answer)
    usage = line["usage"]
    assert isinstance(usage, dict)
    assert answer.token_usage.total == usage["total_tokens"]


@pytest.mark.parametrize("case", [case for case in [*MAIN, *OTHERS] if case.stream], ids=str)
def test_usage_is_sent_only_if_requested(case: Case) -> None:
    assert_usage_only_when_requested(adapter_of(case), case)


@pytest.mark.parametrize("case", [case for case in MAIN if case.status >= 400], ids=str)
def test_an_error_message_names_no_key_and_no_account(case: Case) -> None:
    _, answer = replay(adapter_of(case), case, 0)
    assert answer.failure is not None
    assert answer.failure.message
    for secret in ("sk-REDACTED", "user_REDACTED", "org-REDACTED"):
        assert secret not in answer.failure.model_dump_json()


def test_a_wrong_answer_is_found() -> None:
    case = next(case for case in MAIN if case.kind == "stream" and case.provider == "openrouter")
    chunks, answer = replay(adapter_of(case), case, 0)
    line = outcome_line(case, chunks[:-1], answer)
    assert mismatches(case, {**line, "text": "another text"}) != []
    assert mismatches(case, {**line, "usage": {}}) != []
    assert (
        mismatches(case, line_of_error(case, status=500, coarse_class="server", where="mid_stream", retry_after_ms=0))
        != []
    )
