"""Reports of usage: which counts can be right, and several reports of one answer."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.response.json_text import JsonObject
from services.provider_worker.adapters.response.token_usage import openai_tally, read_usage
from services.provider_worker.adapters.response.usage_counts import MAX_TOKENS, CountReader
from services.provider_worker.adapters.usage_report import NO_REPORT, UsageReport

FULL: JsonObject = {
    "prompt_tokens": 5000,
    "completion_tokens": 20,
    "total_tokens": 5020,
    "prompt_tokens_details": {"cached_tokens": 4800},
    "cost": 0.25,
}
ZERO: JsonObject = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": 0}


@pytest.mark.parametrize(
    ("value", "count"), [(0, 0), (12, 12), (3.0, 3), ("12", 12), (MAX_TOKENS, MAX_TOKENS), (None, None), ("", None)]
)
def test_a_count_that_can_be_right_is_taken(value: object, count: int | None) -> None:
    reader = CountReader()
    assert reader.read({"n": value}, "n") == count
    assert reader.implausible == ()


@pytest.mark.parametrize(
    "value",
    [
        -1,
        10**30,
        MAX_TOKENS + 1,
        2.5,
        1e30,
        float("nan"),
        float("inf"),
        True,
        False,
        "many",
        "1e3",
        "9" * 40,
        "٣",
        [1],
        {},
    ],
)
def test_a_count_that_cannot_be_right_is_named_and_not_zero(value: object) -> None:
    reader = CountReader()
    assert reader.read({"n": value}, "m", "n", inside="details") is None
    assert reader.implausible == ("details.n",)


@pytest.mark.parametrize("absurd", [10**30, -5, True, 1.5, "many"])
def test_an_absurd_count_leaves_its_side_unknown(absurd: object) -> None:
    usage = read_usage({"prompt_tokens": absurd, "completion_tokens": 7})
    assert usage is not None
    assert usage.report == UsageReport(TokenUsage(output=7), False, True, ("prompt_tokens",))
    assert usage.openai is None


def test_an_absurd_detail_is_named_and_not_shown() -> None:
    details = {"cached_tokens": 10**30, "audio_tokens": 2}
    usage = read_usage(
        {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "prompt_tokens_details": details}
    )
    assert usage is not None
    assert usage.report.implausible == ("prompt_tokens_details.cached_tokens",)
    assert not usage.report.exact
    assert usage.openai is not None
    assert usage.openai["prompt_tokens_details"] == {"audio_tokens": 2}


def test_tokens_read_and_written_that_overlap_stay_inside_the_prompt() -> None:
    # Hand-made after OpenRouter, which counts the same tokens as both.
    details = {"cached_tokens": 2161, "cache_write_tokens": 2161}
    usage = read_usage(
        {"prompt_tokens": 2168, "completion_tokens": 10, "total_tokens": 2178, "prompt_tokens_details": details}
    )
    assert usage is not None
    assert usage.token_usage == TokenUsage(input=0, cached_read=2161, cache_write=7, output=10)
    assert usage.openai is not None
    assert (usage.openai["prompt_tokens"], usage.openai["total_tokens"]) == (2168, 2178)


def test_a_cache_that_does_not_fit_the_total_is_inside_the_prompt() -> None:
    details = {"cached_tokens": 150}
    usage = read_usage(
        {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": details}
    )
    assert usage is not None
    assert usage.token_usage == TokenUsage(cached_read=100, output=20)
    assert usage.openai is not None
    assert usage.openai["prompt_tokens_details"] == {"cached_tokens": 100}


@pytest.mark.parametrize(
    "later",
    [
        ZERO,
        {"prompt_tokens": 5000, "completion_tokens": 20, "total_tokens": 5020},
        {"prompt_tokens": 5000, "completion_tokens": 20, "total_tokens": 5020, "prompt_tokens_details": None},
        {**FULL, "prompt_tokens_details": {"cached_tokens": 0}, "cost": 0},
        {**FULL, "prompt_tokens_details": {"cached_tokens": 0}},
        {**FULL, "prompt_tokens_details": {}},
        {"prompt_tokens": 0, "completion_tokens": 20, "total_tokens": 20},
        {"completion_tokens": 1},
        {},
        [],
    ],
)
def test_a_later_report_that_says_less_takes_nothing_away(later: object) -> None:
    tally = openai_tally()
    for node in (FULL, later):
        tally.take(node)
    usage = tally.usage()
    assert usage is not None
    assert usage.token_usage == TokenUsage(input=200, cached_read=4800, output=20)
    assert usage.report.exact
    assert usage.reported_cost_usd == Decimal("0.25")
    assert usage.openai is not None
    assert usage.openai["prompt_tokens_details"] == {"cached_tokens": 4800}
    assert (usage.openai["prompt_tokens"], usage.openai["total_tokens"]) == (5000, 5020)
    assert usage.openai["cost"] == 0.25


def test_a_cost_is_kept_only_with_the_counts_it_was_reported_with() -> None:
    tally = openai_tally()
    for node in (FULL, {"prompt_tokens": 5000, "completion_tokens": 90, "total_tokens": 5090}):
        tally.take(node)
    usage = tally.usage()
    assert usage is not None
    assert (usage.token_usage.output, usage.token_usage.cached_read, usage.reported_cost_usd) == (90, 4800, None)


def test_counts_of_two_reports_have_the_cost_of_neither() -> None:
    tally = openai_tally()
    for prompt, completion, cost in ((10, 50, 0.25), (100, 20, 0.5)):
        tally.take({"prompt_tokens": prompt, "completion_tokens": completion, "cost": cost})
    usage = tally.usage()
    assert usage is not None
    assert (usage.token_usage, usage.reported_cost_usd) == (TokenUsage(input=100, output=50), None)


def test_more_tokens_written_to_a_cache_than_the_prompt_has_are_outside_it() -> None:
    usage = read_usage({"prompt_tokens": 10, "completion_tokens": 5, "cache_creation_input_tokens": 50})
    assert usage is not None
    assert usage.token_usage == TokenUsage(input=10, cache_write=50, output=5)


def test_a_guessed_prompt_gives_way_to_that_of_the_fuller_report() -> None:
    # Hand-made after Gemini, whose last piece counts one token less.
    guess = UsageReport(TokenUsage(input=10), True, True)
    whole = UsageReport(TokenUsage(input=9, output=527), True, True)
    assert guess.merge(whole).token_usage == whole.token_usage
    assert whole.merge(guess).token_usage == whole.token_usage


def test_zeros_do_not_make_an_unknown_count_known() -> None:
    doubtful = UsageReport(TokenUsage(output=7), False, True, ("prompt_tokens",))
    zeros = UsageReport(TokenUsage(), True, True)
    assert doubtful.merge(zeros) == doubtful


def test_an_absurd_last_report_makes_the_answer_an_estimate_and_keeps_what_was_known() -> None:
    known = UsageReport(TokenUsage(input=10, output=2), True, True)
    merged = known.merge(UsageReport(implausible=("prompt_tokens",)))
    assert merged.token_usage == known.token_usage
    assert not merged.exact
    assert merged.merge(UsageReport(TokenUsage(input=10, output=5), True, True)).exact


COUNTS = st.integers(0, 50)
USAGES = st.builds(
    TokenUsage, input=COUNTS, cached_read=COUNTS, cache_write=COUNTS, output=COUNTS, reasoning=COUNTS, audio=COUNTS
)
REPORTS = st.builds(lambda counts: UsageReport(counts, True, True), USAGES)


@given(REPORTS, REPORTS)
def test_no_order_of_reports_makes_counts_of_neither(one: UsageReport, two: UsageReport) -> None:
    merged = one.merge(two).token_usage
    assert merged.prompt in (one.token_usage.prompt, two.token_usage.prompt)
    assert merged.completion == max(one.token_usage.completion, two.token_usage.completion)
    assert merged.total >= min(one.token_usage.total, two.token_usage.total)
    assert all(count >= 0 for count in merged.model_dump().values())
    assert NO_REPORT.merge(one) == one.merge(NO_REPORT) == one.merge(one) == one


def test_a_total_without_its_parts_is_no_exact_report() -> None:
    usage = read_usage({"prompt_tokens": None, "completion_tokens": None, "total_tokens": 7})
    assert usage is not None
    assert usage.token_usage.total == 7
    assert not usage.report.exact
