"""Estimated token usage: rough, bounded, and never a crash."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.usage_report import NO_REPORT, UsageReport
from services.provider_worker.estimate import AccountedUsage, account, estimate


def test_four_characters_are_a_token_and_a_delta_is_one() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "x" * 40},
            {"role": "user", "content": [{"type": "text", "text": "y" * 8}]},
        ]
    }
    token_usage = estimate(json.dumps(body).encode(), deltas=7)
    assert (token_usage.input, token_usage.output) == (12, 7)


def test_a_whole_answer_is_counted_by_its_text() -> None:
    answer = {"choices": [{"message": {"content": "a" * 12, "reasoning_content": "b" * 4}}]}
    assert estimate(b"{}", deltas=0, answer_body=json.dumps(answer).encode()).output == 4


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages":5}', b'{"messages":[1,null,{"content":3}]}'])
def test_an_unreadable_body_counts_nothing(body: bytes) -> None:
    assert estimate(body, deltas=0, answer_body=body).total == 0


@given(st.binary(max_size=200), st.integers(0, 1000))
def test_no_bytes_break_it(body: bytes, deltas: int) -> None:
    assert estimate(body, deltas=deltas, answer_body=body).total >= deltas


@pytest.mark.parametrize("texts", ["x" * 40, ["x" * 20, "y" * 20]])
def test_the_texts_of_an_embedding_request_are_its_prompt(texts: object) -> None:
    token_usage = estimate(json.dumps({"model": "m", "input": texts}).encode(), deltas=0)
    assert (token_usage.input, token_usage.output) == (10, 0)


def test_every_text_of_an_answer_counts() -> None:
    message = {
        "content": [{"type": "text", "text": "a" * 4}, {"type": "image"}, "noise", {"text": 5}],
        "refusal": "r" * 4,
    }
    answer = {"choices": [{"message": message}, "noise", {"message": {"reasoning_content": "c" * 4}}]}
    assert estimate(b"{}", deltas=0, answer_body=json.dumps(answer).encode()).output == 3


def recorded(report: UsageReport, *, answered: bool = True, chargeable: bool = True) -> AccountedUsage:
    return account(report, lambda: TokenUsage(input=40, output=9), answered=answered, chargeable=chargeable)


def test_what_is_reported_is_recorded_as_reported() -> None:
    counts = TokenUsage(input=5, output=1)
    assert recorded(UsageReport(counts, True, True)) == AccountedUsage(counts, UsageSource.REPORTED)


def test_only_the_unknown_side_is_estimated_and_the_reason_recorded() -> None:
    usage = recorded(UsageReport(TokenUsage(cached_read=8, output=3), False, True, ("prompt_tokens",)))
    assert usage.token_usage == TokenUsage(input=32, cached_read=8, output=3)
    assert usage.source is UsageSource.ESTIMATED
    assert usage.note == "these counts of the provider cannot be right: prompt_tokens"
    usage = recorded(UsageReport(TokenUsage(input=5), True, False))
    assert usage.token_usage == TokenUsage(input=5, output=9)
    assert (usage.source, usage.note) == (UsageSource.ESTIMATED, "the provider did not report the completion")
    usage = recorded(UsageReport(TokenUsage(output=3), False, True))
    assert (usage.token_usage, usage.note) == (
        TokenUsage(input=40, output=3),
        "the provider did not report the prompt",
    )


def test_an_estimate_never_lowers_what_was_reported() -> None:
    partly = UsageReport(TokenUsage(cached_read=50, output=3), False, True)
    assert recorded(partly).token_usage == TokenUsage(cached_read=50, output=3)
    reasoned = UsageReport(TokenUsage(input=5, reasoning=4), True, False)
    assert recorded(reasoned).token_usage == TokenUsage(input=5, output=5, reasoning=4)
    more = UsageReport(TokenUsage(input=5, reasoning=20), True, False)
    assert recorded(more).token_usage == TokenUsage(input=5, reasoning=20)


def test_counts_that_cannot_be_right_are_named_where_nothing_is_charged() -> None:
    bad = UsageReport(TokenUsage(), False, False, ("prompt_tokens",))
    usage = recorded(bad, answered=False, chargeable=False)
    assert usage.token_usage == TokenUsage()
    assert usage.note == "these counts of the provider cannot be right: prompt_tokens"


def test_a_doubtful_detail_makes_the_counts_an_estimate() -> None:
    usage = recorded(UsageReport(TokenUsage(input=5, output=1), True, True, ("prompt_tokens_details.cached_tokens",)))
    assert usage.token_usage == TokenUsage(input=5, output=1)
    assert usage.source is UsageSource.ESTIMATED
    assert usage.note is not None


def test_zero_tokens_for_an_answer_are_no_report() -> None:
    zero = UsageReport(TokenUsage(), True, True)
    note = "the provider answered and reported zero tokens"
    assert recorded(zero) == AccountedUsage(TokenUsage(input=40, output=9), UsageSource.ESTIMATED, note)
    assert recorded(zero, answered=False) == AccountedUsage(TokenUsage(), UsageSource.REPORTED)


def test_nothing_is_estimated_where_nothing_can_be_charged() -> None:
    assert recorded(NO_REPORT, chargeable=False) == AccountedUsage(TokenUsage(), UsageSource.NONE)
    assert recorded(NO_REPORT) == AccountedUsage(TokenUsage(input=40, output=9), UsageSource.ESTIMATED)
