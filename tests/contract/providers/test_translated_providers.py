"""The adapters that translate another API, against recorded traffic: what holds for each of them alike."""

import json

import pytest

from services.provider_worker.adapters.adapter import Adapter
from services.provider_worker.adapters.registry import adapter_for
from tests.support.providers.adapter_replay import (
    assert_matches_expectation,
    assert_mismatches_are_found,
    assert_role_comes_once,
    assert_token_counts_add_up,
    assert_usage_only_when_requested,
    replay,
)
from tests.support.providers.recorded_traffic import Case, recorded_cases

KINDS = {
    "anthropic": {"cache", "reasoning", "vision"},
    "bedrock": {"cache", "reasoning", "vision"},
    "cohere": {"embeddings"},
    "gemini": {"cache", "embeddings", "reasoning", "structured"},
}
"""Provider -> the kinds recorded of it beside those that are recorded of all."""
COMMON_KINDS = {"chat", "error", "reasoning_stream", "stream", "tools", "tools_stream"}

CASES = recorded_cases(*KINDS)
STREAMS = [case for case in CASES if case.stream]


def adapter_of(case: Case) -> Adapter:
    return adapter_for(case.provider)


@pytest.mark.parametrize("provider", KINDS)
def test_every_kind_of_traffic_is_recorded(provider: str) -> None:
    assert {case.kind for case in CASES if case.provider == provider} >= COMMON_KINDS | KINDS[provider]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_recording_matches_its_expectation_however_it_is_cut(case: Case) -> None:
    assert_matches_expectation(adapter_of(case), case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_token_counts_add_up_to_the_callers_total(case: Case) -> None:
    assert_token_counts_add_up(adapter_of(case), case)


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_usage_is_sent_only_if_requested(case: Case) -> None:
    assert_usage_only_when_requested(adapter_of(case), case)


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_the_role_comes_once_and_with_the_first_output(case: Case) -> None:
    assert_role_comes_once(adapter_of(case), case)
    first = json.loads(replay(adapter_of(case), case, 0)[0][0])["choices"][0]["delta"]
    assert any(value for name, value in first.items() if name != "role")


@pytest.mark.parametrize("case", [case for case in STREAMS if case.kind != "error"], ids=str)
def test_a_stream_that_ends_early_is_truncated(case: Case) -> None:
    for share in (0.2, 0.5, 0.8):
        cut = Case(**{**vars(case), "body": case.body[: int(len(case.body) * share)]})
        _, answer = replay(adapter_of(case), cut, 3)
        if answer.finish_reason is None:
            assert answer.failure is not None
            assert answer.failure.failure_class == "truncated"


@pytest.mark.parametrize("provider", ["bedrock", "cohere"])
def test_a_wrong_text_is_found(provider: str) -> None:
    case = next(case for case in STREAMS if case.provider == provider and case.kind == "stream")
    assert_mismatches_are_found(adapter_of(case), case, text="another text")


@pytest.mark.parametrize(
    ("provider", "wrong"), [("anthropic", {"tool_calls": []}), ("gemini", {"tool_calls": [], "finish_reason": "stop"})]
)
def test_missing_tool_calls_are_found(provider: str, wrong: dict[str, object]) -> None:
    case = next(case for case in CASES if case.provider == provider and case.kind == "tools_stream")
    assert_mismatches_are_found(adapter_of(case), case, **wrong)
