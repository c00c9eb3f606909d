"""Sums over attempts are exact, and an amount that is not known never reads as 0."""

import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from keyferry.contracts.analytics import Measure
from keyferry.contracts.analytics_answers import MAX_CHANGE, Percentiles, UsageChange, UsageFigures
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import TokenUsage
from services.usage_ledger.analytics.figures import (
    OUTCOMES,
    Sums,
    add_up,
    change_of,
    figures_of,
    percentiles_of,
    sums_of,
)
from services.usage_ledger.analytics.rollup_sql import SUMMED
from services.usage_ledger.database import TOKEN_KINDS

LATENCY = Percentiles(count=4, p50_ms=10, p95_ms=200, p99_ms=300)
FIRST_TOKEN = Percentiles(count=3, p50_ms=1, p95_ms=2, p99_ms=3)


def of(**values: int | Decimal) -> Sums:
    return Sums(dict(values))


def figures(**values: Any) -> UsageFigures:
    return figures_of(of(**values), LATENCY)


def test_sums_are_added_and_taken_away_name_by_name() -> None:
    one, other = of(attempts=5, cost_usd=Decimal("0.1")), of(attempts=3, requests=2, cost_usd=Decimal("0.000000000001"))
    assert one.plus(other).values == {"attempts": 8, "requests": 2, "cost_usd": Decimal("0.100000000001")}
    assert one.plus(other, -1).values == {"attempts": 2, "requests": -2, "cost_usd": Decimal("0.099999999999")}
    assert (one["attempts"], one["unpriced"]) == (5, 0)
    assert add_up([one, other, one]).values == one.plus(other).plus(one).values
    assert add_up([]).values == {}


def test_no_digit_of_any_number_of_amounts_is_lost() -> None:
    rng = random.Random(11)
    amounts = [Decimal(rng.randrange(10**30)).scaleb(-12) for _ in range(300)]
    found = add_up(of(cost_usd=amount) for amount in amounts)
    assert Fraction(found["cost_usd"]) == sum(map(Fraction, amounts))


def test_a_row_of_the_database_is_read_without_its_nulls() -> None:
    row = dict.fromkeys((*SUMMED, *OUTCOMES)) | {"attempts": 7, "failed": 2, "tier": "free", "requests": 0}
    assert sums_of(row).values == {"attempts": 7, "failed": 2}


def test_rows_are_ordered_by_the_amount_of_their_measure() -> None:
    tokens = {f"{kind}_tokens": 10**number for number, kind in enumerate(TOKEN_KINDS)}
    sums = of(cost_usd=1, spend_micro_usd=2, charge_micro_usd=3, requests=4, attempts=5, failed=6, **tokens)
    total = int("1" * len(TOKEN_KINDS))
    assert {measure: sums.measure(measure) for measure in Measure} == {
        Measure.COST: 1,
        Measure.SPEND: 2,
        Measure.CHARGE: 3,
        Measure.REQUESTS: 4,
        Measure.ATTEMPTS: 5,
        Measure.FAILED: 6,
        Measure.TOKENS: total,
    }


@pytest.mark.parametrize(
    ("attempts", "unknown", "known"), [(0, 0, True), (1, 0, True), (2, 1, True), (1, 1, False), (2, 3, False)]
)
def test_an_amount_is_unknown_only_if_no_attempt_has_one(attempts: int, unknown: int, known: bool) -> None:
    found = figures(attempts=attempts, unpriced=unknown, cost_usd=Decimal(3), spend_micro_usd=4)
    assert found.cost_usd == (Decimal(3) if known else None)
    assert found.spend_micro_usd == 4
    found = figures(attempts=attempts, spend_unknown=unknown, cost_usd=Decimal(3), spend_micro_usd=4)
    assert found.spend_micro_usd == (4 if known else None)
    assert found.cost_usd == Decimal(3)


def test_an_answer_has_every_sum_under_its_own_name() -> None:
    names = [
        *("requests", "attempts", "unpriced", "charge_micro_usd", "charged", "absorbed_micro_usd", "spend_micro_usd"),
        *("spend_unknown", *OUTCOMES),
    ]
    values = {name: 1000 - number for number, name in enumerate(names)}
    tokens = {kind: 10**number for number, kind in enumerate(TOKEN_KINDS)}
    sums = of(**values, **{f"{kind}_tokens": count for kind, count in tokens.items()}, cost_usd=Decimal("1.5"))
    assert figures_of(sums, LATENCY, FIRST_TOKEN) == UsageFigures(
        **values,
        token_usage=TokenUsage(**tokens),
        total_tokens=sum(tokens.values()),
        cost_usd=Decimal("1.5"),
        latency=LATENCY,
        first_token=FIRST_TOKEN,
    )


def test_what_is_absurdly_large_or_negative_is_cut() -> None:
    found = figures(attempts=10**30, requests=-3, charge_micro_usd=BIGINT_MAX, charged=1)
    assert (found.attempts, found.requests) == (BIGINT_MAX, 0)
    assert (found.charge_micro_usd, found.charged, found.failed) == (BIGINT_MAX, 1, 0)


def test_percentiles_are_of_the_buckets_that_the_database_keeps() -> None:
    """Entries have the bucket plus one, so that the bucket of zero is 0; bucket 0 is of one millisecond."""
    assert percentiles_of({}) is None
    assert percentiles_of({0: 5}) == Percentiles(count=5, p50_ms=0, p95_ms=0, p99_ms=0)
    assert percentiles_of({0: 50, 1: 45, 231: 4, 346: 1}) == Percentiles(count=100, p50_ms=0, p95_ms=1, p99_ms=99)
    assert percentiles_of({1: 1}) == Percentiles(count=1, p50_ms=1, p95_ms=1, p99_ms=1)


def test_a_change_is_in_thousandths_of_what_was_before() -> None:
    before = figures(
        requests=1000, attempts=2000, input_tokens=4000, cost_usd=Decimal(5), charge_micro_usd=8000,
        spend_micro_usd=10_000, failed=16_000,
    )  # fmt: skip
    after = figures_of(
        of(
            requests=1001, attempts=1996, input_tokens=4012, cost_usd=Decimal("5.02"), charge_micro_usd=8040,
            spend_micro_usd=10_060, failed=16_112,
        ),
        LATENCY.model_copy(update={"p95_ms": 202}),
    )  # fmt: skip
    assert change_of(after, before) == UsageChange(
        requests_permille=1,
        attempts_permille=-2,
        tokens_permille=3,
        cost_permille=4,
        charge_permille=5,
        spend_permille=6,
        failed_permille=7,
        p95_permille=10,
    )


def test_there_is_no_change_where_nothing_can_be_compared() -> None:
    unknown = figures_of(of(attempts=1, unpriced=1, spend_unknown=1))
    some = figures(attempts=1, cost_usd=Decimal(1), spend_micro_usd=1)
    for now, before in ((unknown, some), (some, unknown)):
        found = change_of(now, before)
        assert (found.cost_permille, found.spend_permille, found.p95_permille) == (None, None, None)
        assert (found.attempts_permille, found.requests_permille) == (0, None)


def test_a_change_is_cut_to_what_an_answer_can_have() -> None:
    assert change_of(figures(requests=BIGINT_MAX), figures(requests=1)).requests_permille == MAX_CHANGE
    assert change_of(figures(requests=0), figures(requests=BIGINT_MAX)).requests_permille == -1000
    assert change_of(figures(cost_usd=Decimal(-1)), figures(cost_usd=Decimal("1E-9"))).cost_permille == -MAX_CHANGE
