"""In every adapter: the parts of a usage report never add up to more than the provider's own total, and none is negative."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.provider_worker.adapters.adapter import Answer, UpstreamRequest
from services.provider_worker.adapters.registry import ADAPTERS
from tests.support.providers.attempt_runs import attempt_run

JsonObject = dict[str, object]

SMALL = st.integers(0, 300)
ODD: st.SearchStrategy[object] = st.sampled_from([-1, 10**30, 2.5, True, "7", "x", None, [], {}])
COUNT = st.one_of(SMALL, SMALL, SMALL, ODD)


def of(*names: str) -> st.SearchStrategy[JsonObject]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, COUNT))


def openai_usage() -> st.SearchStrategy[JsonObject]:
    prompts = of("cached_tokens", "cache_write_tokens", "cache_creation_tokens", "audio_tokens", "image_tokens")
    completions = of(
        "reasoning_tokens", "audio_tokens", "image_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"
    )
    top = of("prompt_tokens", "completion_tokens", "total_tokens", "prompt_cache_hit_tokens", "reasoning_tokens")
    return st.builds(
        lambda node, *details: node | {"prompt_tokens_details": details[0], "completion_tokens_details": details[1]},
        top,
        prompts,
        completions,
    )


def gemini_usage() -> st.SearchStrategy[JsonObject]:
    return of(
        "promptTokenCount", "candidatesTokenCount", "totalTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount",
        "cachedContentTokenCount",
    )  # fmt: skip


USAGES: Mapping[str, st.SearchStrategy[JsonObject]] = {
    "openai": openai_usage(),
    "bedrock": of(
        "inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens",
        "cacheReadInputTokenCount",
    ),
    "cohere": st.builds(
        lambda tokens, cached: {"tokens": tokens, **cached},
        of("input_tokens", "output_tokens", "reasoning_tokens"),
        of("cached_tokens"),
    ),
    "gemini": gemini_usage(),
    "anthropic": st.builds(
        lambda top, split, details: {**top, "cache_creation": split, "output_tokens_details": details},
        of("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
        of("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
        of("thinking_tokens"),
    ),
}  # fmt: skip
NAMES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "openai": ("total_tokens", ("prompt_tokens", "completion_tokens")),
    "bedrock": ("totalTokens", ("inputTokens", "outputTokens")),
    "gemini": ("totalTokenCount", ("promptTokenCount", "candidatesTokenCount")),
}
"""The field of the provider's total, and those of its main parts."""


def answer_of(provider: str, usage: JsonObject) -> Answer:
    documents: dict[str, JsonObject] = {
        "openai": {"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}], "usage": usage},
        "bedrock": {"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": "end_turn", "usage": usage},
        "cohere": {"message": {"content": [{"type": "text", "text": "a"}]}, "finish_reason": "COMPLETE", "usage": usage},
        "gemini": {"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}], "usageMetadata": usage},
        "anthropic": {
            "type": "message", "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn", "usage": usage
        },
    }  # fmt: skip
    reader = ADAPTERS[provider].reader(attempt_run(), UpstreamRequest("https://provider.test", {}, b""), 200, {})
    reader.feed(json.dumps(documents[provider]).encode())
    return reader.close()


@pytest.mark.parametrize("provider", USAGES)
@settings(max_examples=150)
@given(data=st.data())
def test_parts_never_exceed_the_providers_total(provider: str, data: st.DataObject) -> None:
    usage = data.draw(USAGES[provider])
    answer = answer_of(provider, usage)
    assert answer.failure is None
    counts = answer.token_usage
    assert all(count >= 0 for count in counts.model_dump().values())
    shown = json.loads(answer.body).get("usage")
    if answer.usage.prompt_known and answer.usage.completion_known:
        assert (shown["prompt_tokens"], shown["completion_tokens"]) == (counts.prompt, counts.completion)
        assert ((shown.get("prompt_tokens_details") or {}).get("cached_tokens") or 0) <= counts.prompt
    total, main = NAMES.get(provider, ("", ()))
    known = [usage.get(name) for name in (total, *main)]
    if known and all(type(value) is int and 0 <= value <= 300 for value in known):
        whole, *sides = (value for value in known if isinstance(value, int))
        # A total that is smaller than its own main parts contradicts itself and bounds nothing.
        assert counts.total <= max(whole, sum(sides))
        if not answer.usage.implausible:
            assert answer.usage.exact
