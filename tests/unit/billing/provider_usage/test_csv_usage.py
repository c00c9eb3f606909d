"""Pasted CSVs."""

import contextlib
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.reconciliation import MAX_CSV_LINES
from services.billing.provider_usage.csv_usage import UnreadableCsv, read_csv
from services.billing.provider_usage.stated_usage import StatedUsage
from services.billing.provider_usage.usage_api import UsageSpan

SPAN = UsageSpan(date(2026, 11, 1), date(2026, 11, 30))


def test_columns_are_recognised_in_any_order_and_case() -> None:
    text = "Cost (USD),ignored,Model,Input Tokens,Output-Tokens,DATE\r\n$1.25,x,gpt-4o,100,20,2026-11-02T00:00:00Z\r\n"
    assert read_csv(text, SPAN) == [StatedUsage(date(2026, 11, 2), "gpt-4o", None, 100, 20, Decimal("1.25"))]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_a_byte_order_mark_are_understood(separator: str) -> None:
    text = "\ufeff" + separator.join(["date", "amount"]) + "\n" + separator.join(["2026-11-02", "3"]) + "\n\n"
    assert read_csv(text, SPAN) == [StatedUsage(day=date(2026, 11, 2), cost_usd=Decimal(3))]


def test_lines_of_the_same_day_and_model_are_added_up_and_other_days_left_out() -> None:
    text = "date,model,cost\n2026-11-02,a,1\n2026-11-02,a,0.5\n2026-10-31,a,9\n"
    assert read_csv(text, SPAN) == [StatedUsage(day=date(2026, 11, 2), model="a", cost_usd=Decimal("1.5"))]


def test_anthropics_parts_of_the_prompt_are_added_up() -> None:
    header = (
        "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_read,usage_output_tokens"
    )
    (found,) = read_csv(f"{header}\n2026-11-02,claude,100,,5\n", SPAN)
    assert (found.prompt_tokens, found.completion_tokens) == (100, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "want a first line"),
        ("a,b\n1,2\n", "want a first line"),
        ("cost,amount\n1,2\n", "several columns may be the cost"),
        ("date,cost\n02.11.2026,1\n", "line 2: the day is not written as 2026-11-30"),
        ('date,cost\n2026-11-02,"1,5"\n', "line 2: the cost is not an amount"),
        ("date,cost\n2026-11-02,1e3\n", "line 2: the cost is not an amount"),
        ("date,cost\n2026-11-02,NaN\n", "line 2: the cost is not an amount"),
        ("date,input_tokens\n2026-11-02,1.5\n", "line 2: the prompt tokens are not a whole number"),
        ("date,model,cost\n2026-11-02,,1\n", "line 2: the model is missing"),
        ("date,cost\n2026-11-02\n", "line 2: 1 columns are fewer"),
        ('date,cost\n"2026-11-02,1\n', "line 2: "),
        ("date,cost\n2026-12-02,1\n", "no line from 2026-11-01 to 2026-11-30 (1 lines are of other days)"),
        ("cost\n" + "1\n" * MAX_CSV_LINES, f"more than {MAX_CSV_LINES} lines"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UnreadableCsv) as caught:
        read_csv(text, SPAN)
    assert message in str(caught.value)


def test_problems_of_several_lines_are_reported_at_once_and_never_more_than_ten() -> None:
    with pytest.raises(UnreadableCsv) as caught:
        read_csv("date,cost\n" + "x,1\n" * 50, SPAN)
    assert str(caught.value).count("line ") == 10


@given(st.text(max_size=300))
def test_no_text_fails_otherwise(text: str) -> None:
    with contextlib.suppress(UnreadableCsv):
        read_csv("date,model,cost,input_tokens\n" + text, SPAN)
