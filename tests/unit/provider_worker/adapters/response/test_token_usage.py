"""Usage objects split into disjoint counts that add up to the total."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.money import usd
from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.response.json_text import JsonObject
from services.provider_worker.adapters.response.token_usage import OpenAIUsage, read_cost, read_usage, report_and_cost
from services.provider_worker.adapters.usage_report import NO_REPORT

OVERLAPPING: JsonObject = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10, "audio_tokens": 5, "image_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 4},
}


def reported(node: JsonObject) -> OpenAIUsage:
    usage = read_usage(node)
    assert usage is not None
    return usage


def shown(usage: OpenAIUsage) -> JsonObject:
    assert usage.openai is not None
    return usage.openai


def test_details_are_subtracted_from_their_sums() -> None:
    usage = reported(OVERLAPPING)
    assert usage.token_usage == TokenUsage(
        input=24, cached_read=60, cache_write=10, output=16, reasoning=30, audio=5, image=1, audio_output=4
    )
    assert usage.openai is OVERLAPPING


def test_reasoning_outside_the_completion_is_added_if_the_total_proves_it() -> None:
    # xAI's shape, numbers from a recording.
    node: JsonObject = {
        "prompt_tokens": 331,
        "completion_tokens": 11,
        "total_tokens": 674,
        "prompt_tokens_details": {"cached_tokens": 283},
        "completion_tokens_details": {"reasoning_tokens": 332},
        "cost_in_usd_ticks": 2071250,
    }
    usage = reported(node)
    assert usage.token_usage == TokenUsage(input=48, cached_read=283, output=11, reasoning=332)
    assert shown(usage)["completion_tokens"] == 343
    assert shown(usage)["total_tokens"] == 674
    assert usage.reported_cost_usd == Decimal("0.000207125")


@pytest.mark.parametrize("total", [None, 270], ids=["no-total", "total-with-cache"])
def test_cached_tokens_outside_the_prompt_are_added(total: int | None) -> None:
    # Hand-made after Grok on Azure, where more tokens are cached than the prompt has.
    node: JsonObject = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": 150},
    }
    usage = reported(node)
    assert usage.token_usage == TokenUsage(input=100, cached_read=150, output=20)
    assert shown(usage)["prompt_tokens"] == 250
    assert shown(usage)["total_tokens"] == 270


def test_cached_and_reasoning_tokens_can_both_be_outside() -> None:
    # Hand-made.
    node: JsonObject = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 200,
        "prompt_tokens_details": {"cached_tokens": 50},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    usage = reported(node)
    assert usage.token_usage == TokenUsage(input=100, cached_read=50, output=20, reasoning=30)


def test_tokens_only_in_the_total_are_hidden_reasoning() -> None:
    # Hand-made after Gemini's compatible endpoint.
    usage = reported({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40})
    assert usage.token_usage == TokenUsage(input=10, output=5, reasoning=25)
    assert shown(usage)["completion_tokens_details"] == {"reasoning_tokens": 25}


def test_top_level_cache_hits_move_to_openais_field() -> None:
    # Hand-made after older DeepSeek answers, which have no details.
    usage = reported({"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "prompt_cache_hit_tokens": 8})
    assert usage.token_usage == TokenUsage(input=2, cached_read=8, output=1)
    assert shown(usage)["prompt_tokens_details"] == {"cached_tokens": 8}


def test_a_missing_total_is_the_sum() -> None:
    usage = reported({"prompt_tokens": 10, "completion_tokens": 1})
    assert shown(usage)["total_tokens"] == usage.token_usage.total == 11


@pytest.mark.parametrize("node", [None, [], "12", {}, {"prompt_tokens": None}, {"prompt_tokens": ""}])
def test_anything_but_usage_is_not_reported(node: object) -> None:
    assert read_usage(node) is None
    assert report_and_cost(read_usage(node)) == (NO_REPORT, None)


@pytest.mark.parametrize(
    ("cost", "amount"),
    [
        (0.00005025, "0.00005025"),
        (1.4e-07, "0.00000014"),
        (0.007637029, "0.007637029"),
        (0, "0"),
        (10**6, "1000000"),
        ("0.25", "0.25"),
        ({"total_cost": 0.00834}, "0.00834"),
        (0.1234567890123456, "0.123456789012"),
    ],
)
def test_the_reported_cost_is_the_text_the_provider_wrote(cost: object, amount: str) -> None:
    read = read_cost({"cost": cost})
    assert read == Decimal(amount)
    assert usd(read) == read


@pytest.mark.parametrize("cost", [None, True, -1, float("nan"), float("inf"), "dear", 1e300, 10**6 + 1, [], {}])
def test_an_invalid_amount_is_no_cost(cost: object) -> None:
    assert read_cost({"cost": cost}) is None


COUNTS = st.one_of(st.none(), st.integers(-5, 500), st.sampled_from([3.0, 2.5, True, "7", 10**30]))
DETAILS = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(["cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_tokens", "image_tokens"]),
        COUNTS,
    ),
)


@given(prompt=COUNTS, completion=COUNTS, total=COUNTS, prompts=DETAILS, completions=DETAILS)
def test_token_counts_add_up_to_the_callers_total(
    prompt: object, completion: object, total: object, prompts: object, completions: object
) -> None:
    node: JsonObject = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": prompts,
        "completion_tokens_details": completions,
    }
    usage = read_usage(node)
    if usage is None:
        return
    assert all(value >= 0 for value in usage.token_usage.model_dump().values())
    if usage.openai is None:
        return
    assert usage.token_usage.total == usage.openai["total_tokens"]
    again = reported(usage.openai)
    # Only the note may differ: that a count could not be right is not seen any more once it has been replaced.
    noted = usage.openai.keys() & {"usage_note"}
    shown_again = usage.openai | {name: shown(again)[name] for name in noted}
    assert shown(again) == shown_again, "what is shown to the caller needs no more putting right"
    assert again.token_usage == usage.token_usage


@given(st.integers(1, 300), st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_a_consistent_report_is_unchanged(fresh: int, cached: int, output: int, reasoning: int) -> None:
    node: JsonObject = {
        "prompt_tokens": fresh + cached,
        "completion_tokens": output + reasoning,
        "total_tokens": fresh + cached + output + reasoning,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    usage = reported(node)
    assert usage.openai is node
    assert usage.token_usage == TokenUsage(input=fresh, cached_read=cached, output=output, reasoning=reasoning)
