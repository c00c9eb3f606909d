"""What cannot be right in a provider's report is no fact for the caller either: it is left out, estimated, and said."""

import json
from typing import Any

import pytest

from keyferry.contracts.usage import RequestKind, TokenUsage, UsageSource
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.estimate import account, estimate
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.test_whole_answers import ANTHROPIC, BEDROCK, COHERE, GEMINI, OPENAI

JsonObject = dict[str, Any]
HUGE = 10**30
FIELDS = {"bedrock": {"region": "eu-west-1"}, "vertex": {"project": "p", "location": "global"}}


def read(provider: str, document: JsonObject, kind: RequestKind = RequestKind.CHAT, **body: Any) -> Answer:
    model = {"bedrock": "amazon.titan-embed-text-v2:0"} if kind is RequestKind.EMBEDDING else {}
    run = attempt_run(
        provider=provider,
        kind=kind,
        model=model.get(provider, "m"),
        key_fields=FIELDS.get(provider, {}),
        base_url="http://127.0.0.1:9/v1" if provider == "custom" else None,
    )
    content = body or {"model": "m", "messages": [{"role": "user", "content": "a"}]}
    adapter = ADAPTERS[provider]
    reader = adapter.reader(run, adapter.request(run, json.dumps(content).encode()), 200, {})
    reader.feed(json.dumps(document).encode())
    return reader.close()


def shown(answer: Answer) -> JsonObject:
    usage: JsonObject = json.loads(answer.body)["usage"]
    return usage


def note_of(answer: Answer) -> tuple[UsageSource, str | None]:
    accounted = account(answer.usage, lambda: TokenUsage(input=1, output=1), answered=True, chargeable=True)
    return accounted.source, accounted.note


IMPLAUSIBLE: dict[str, JsonObject] = {
    "openai": OPENAI
    | {"usage": {**OPENAI["usage"], "prompt_tokens_details": {"cached_tokens": HUGE}, "x": 1, "completion_tokens": 2}},
    "anthropic": ANTHROPIC | {"usage": {**ANTHROPIC["usage"], "cache_read_input_tokens": HUGE}},
    "cohere": COHERE | {"usage": {**COHERE["usage"], "cached_tokens": HUGE}},
    "bedrock": BEDROCK | {"usage": {**BEDROCK["usage"], "cacheReadInputTokens": HUGE}},
    "gemini": GEMINI | {"usageMetadata": {**GEMINI["usageMetadata"], "cachedContentTokenCount": HUGE}},
}


@pytest.mark.parametrize("provider", IMPLAUSIBLE)
def test_the_caller_reads_the_note_of_the_ledger(provider: str) -> None:
    answer = read(provider, IMPLAUSIBLE[provider])
    source, note = note_of(answer)
    assert source is UsageSource.ESTIMATED
    assert note is not None
    assert shown(answer)["usage_note"] == note
    assert str(HUGE) not in answer.body.decode()


ZERO: dict[str, JsonObject] = {
    "openai": OPENAI | {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
    "anthropic": ANTHROPIC | {"usage": {"input_tokens": 0, "output_tokens": 0}},
    "cohere": COHERE | {"usage": {"tokens": {"input_tokens": 0, "output_tokens": 0}}},
    "bedrock": BEDROCK | {"usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}},
}


@pytest.mark.parametrize("provider", ZERO)
def test_zero_tokens_of_an_answer_are_said_to_be_what_was_reported(provider: str) -> None:
    answer = read(provider, ZERO[provider])
    assert note_of(answer) == (UsageSource.ESTIMATED, "the provider answered and reported zero tokens")
    assert shown(answer)["usage_note"] == "the provider reported zero tokens"


@pytest.mark.parametrize("cost", [{"cost": 10**9}, {"cost": -1}, {"cost": "a lot"}, {"cost_in_usd_ticks": 10**20}])
def test_a_cost_that_cannot_be_right_is_left_out_and_said(cost: JsonObject) -> None:
    answer = read("openai", OPENAI | {"usage": OPENAI["usage"] | cost})
    said = "the cost that the provider reported cannot be right"
    assert shown(answer) == OPENAI["usage"] | {"usage_note": said}
    assert answer.reported_cost_usd is None
    assert note_of(answer) == (UsageSource.REPORTED, said)


@pytest.mark.parametrize("cost", [{}, {"cost": 0}, {"cost": None}, {"cost": ""}, {"cost": {"input_tokens_cost": 1}}])
def test_a_usual_report_has_no_note(cost: JsonObject) -> None:
    answer = read("openai", OPENAI | {"usage": OPENAI["usage"] | cost})
    assert shown(answer) == OPENAI["usage"] | cost
    assert note_of(answer) == (UsageSource.REPORTED, None)


TOTALS: dict[str, JsonObject] = {
    "openai": OPENAI | {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 10**9}},
    "gemini": GEMINI | {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 10**9}},
}


@pytest.mark.parametrize("provider", TOTALS)
@pytest.mark.parametrize("total", [10**9, 1_000_006])
def test_a_total_far_above_its_parts_is_no_reasoning(provider: str, total: int) -> None:
    document = json.loads(json.dumps(TOTALS[provider]).replace(str(10**9), str(total)))
    answer = read(provider, document)
    assert answer.token_usage == TokenUsage(input=3, output=2)
    source, note = note_of(answer)
    assert (source, shown(answer)["total_tokens"]) == (UsageSource.ESTIMATED, 5)
    assert note is not None
    assert "total" in note
    assert shown(answer)["usage_note"] == note


@pytest.mark.parametrize("provider", TOTALS)
def test_a_total_above_its_parts_may_be_reasoning(provider: str) -> None:
    document = json.loads(json.dumps(TOTALS[provider]).replace(str(10**9), "1005"))
    answer = read(provider, document)
    assert answer.token_usage == TokenUsage(input=3, output=2, reasoning=1000)
    assert note_of(answer) == (UsageSource.REPORTED, None)


def test_the_completion_of_a_total_is_no_larger_than_answers_are() -> None:
    usage = {"prompt_tokens": 15, "total_tokens": 10**9}
    answer = read("openai", OPENAI | {"usage": usage})
    assert (answer.usage.prompt_known, answer.usage.completion_known) == (True, False)
    assert answer.token_usage == TokenUsage(input=15)


VECTOR = [0.5, 0.25]
EMBEDDINGS: dict[str, JsonObject] = {
    "openai": {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": VECTOR}], "model": "m"},
    "cohere": {"embeddings": {"float": [VECTOR]}},
    "bedrock": {"embedding": VECTOR},
    "gemini": {"embeddings": [{"values": VECTOR}]},
    "vertex": {"predictions": [{"embeddings": {"values": VECTOR}}]},
}
COUNTED: dict[str, JsonObject] = {
    "openai": {"usage": {"prompt_tokens": 9, "total_tokens": 9}},
    "cohere": {"meta": {"billed_units": {"input_tokens": 9}}},
    "bedrock": {"inputTextTokenCount": 9},
    "gemini": {"usageMetadata": {"promptTokenCount": 9}},
    "vertex": {"predictions": [{"embeddings": {"values": VECTOR, "statistics": {"token_count": 9}}}]},
}
TEXT = "a text of 24 characters."


@pytest.mark.parametrize("provider", EMBEDDINGS)
def test_embeddings_without_a_count_show_the_ledgers_estimate_as_one(provider: str) -> None:
    body = {"model": "m", "input": TEXT}
    answer = read(provider, EMBEDDINGS[provider], RequestKind.EMBEDDING, **body)
    tokens = estimate(json.dumps(body).encode(), deltas=0).input
    assert answer.usage_source is UsageSource.NONE
    assert shown(answer) == {
        "prompt_tokens": tokens,
        "total_tokens": tokens,
        "usage_note": "estimated: the provider reported no usage",
    }
    assert tokens == 6


@pytest.mark.parametrize("provider", EMBEDDINGS)
def test_counted_embeddings_show_the_count(provider: str) -> None:
    document = EMBEDDINGS[provider] | COUNTED[provider]
    answer = read(provider, document, RequestKind.EMBEDDING, model="m", input=TEXT)
    assert shown(answer) == {"prompt_tokens": 9, "total_tokens": 9}


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": HUGE, "total_tokens": HUGE},
        {"prompt_tokens": 15, "total_tokens": 10**9},
        {"prompt_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 15, "total_tokens": 15, "cost": -1},
    ],
)
def test_counts_of_embeddings_that_cannot_be_right_are_not_shown_as_facts(usage: JsonObject) -> None:
    answer = read("openai", EMBEDDINGS["openai"] | {"usage": usage}, RequestKind.EMBEDDING, model="m", input=TEXT)
    known = usage["prompt_tokens"] == 15
    assert shown(answer).pop("prompt_tokens") == (15 if known else 6)
    assert shown(answer).keys() == {"prompt_tokens", "total_tokens", "usage_note"}
    assert shown(answer)["total_tokens"] == shown(answer)["prompt_tokens"]


def test_token_ids_are_counted() -> None:
    assert estimate(b'{"input":[1,2,3]}', deltas=0).input == 3
    assert estimate(b'{"input":[[1,2],[3]]}', deltas=0).input == 3


def test_a_whole_answer_in_a_late_chunk_counts_more_than_one_token() -> None:
    chunk = json.dumps({"choices": [{"delta": {"content": "x" * 400}}]}).encode()
    assert estimate(b"{}", deltas=1, late=(chunk,)).output == 100
