"""Facets cover whatever a filter can find, and the searches over them end."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from keyferry.contracts import ids
from keyferry.contracts.request_log import RequestFilter
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import LedgerRow
from services.usage_ledger.request_log.facets import (
    BUCKET,
    MAX_WORDS,
    PER_DAY,
    TimeSpan,
    bucket_of,
    common_buckets,
    days_of,
    facets_of_filter,
    has_words,
    names_of_attempt,
    spans_of,
    words_of,
)
from services.usage_ledger.request_log.windows import LATEST, SearchPace, clip, slices, window_of_id
from tests.support.ledger.attempt_records import attempt_record

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def row(**changes: object) -> LedgerRow:
    cost = changes.pop("cost_usd", Decimal("0.5"))
    record = attempt_record(**changes)
    return LedgerRow(record=record, cost_usd=cost, pricing="priced", price_version="v", recorded_at=EPOCH)


@pytest.mark.parametrize("amount", [0, 1, 7, 8, 9, 10, 15, 16, 1000, 2**20, 2**39, 2**40, 2**41, BIGINT_MAX])
def test_what_is_at_least_so_large_has_a_facet_that_is_looked_for(amount: int) -> None:
    for least in {max(amount - 1, 0), amount, amount // 2, amount // 3}:
        (choice,) = facets_of_filter(RequestFilter(tenant="acme", min_latency_ms=least))
        names = set(names_of_attempt(row(latency_ms=amount)))
        assert names & set(choice), (least, amount)
    (larger,) = facets_of_filter(RequestFilter(tenant="acme", min_latency_ms=min(amount * 2 + 1, BIGINT_MAX)))
    if amount < 2**38:
        assert not set(names_of_attempt(row(latency_ms=amount))) & set(larger)


def test_parts_of_a_micro_dollar_are_not_lost() -> None:
    for cost in ("0.0000000001", "0.000001", "0.0000019999"):
        (choice,) = facets_of_filter(RequestFilter(tenant="acme", min_cost_usd=Decimal(cost)))
        assert set(names_of_attempt(row(cost_usd=Decimal(cost)))) & set(choice)


def test_days_hold_every_facet() -> None:
    chance = random.Random(5)
    found = {("acme", chance.randrange(3 * PER_DAY)): set(chance.choice(("a", "b", "ab"))) for _ in range(90)}
    found["other", 7] = {"a"}
    days = days_of(found)
    assert [day for day in days if day.tenant == "other"] == [("other", 0, f"{1 << (PER_DAY - 8):0{PER_DAY}b}", {"a"})]
    rows = [(name, day.day, day.quarters) for day in days if day.tenant == "acme" for name in day.names]
    assert len({row[:2] for row in rows}) == len(rows) == 6
    of_a, of_b = (
        {bucket for (tenant, bucket), names in found.items() if tenant == "acme" and name in names} for name in "ab"
    )
    assert common_buckets(rows, [("a",), ("b",)]) == sorted(of_a & of_b, reverse=True)
    assert common_buckets(rows, [("a", "b")]) == sorted(of_a | of_b, reverse=True)
    only = [each for each in rows if each[0] == "a"]
    assert common_buckets(only, [("a",), ("b",)]) == []


def test_spans_are_the_quarter_hours_and_no_more() -> None:
    spans = spans_of([9, 8, 6, 2, 1, 0])
    assert spans == [
        TimeSpan(EPOCH + 8 * BUCKET, EPOCH + 10 * BUCKET),
        TimeSpan(EPOCH + 6 * BUCKET, EPOCH + 7 * BUCKET),
        TimeSpan(EPOCH, EPOCH + 3 * BUCKET),
    ]
    within = TimeSpan(EPOCH + timedelta(minutes=1), EPOCH + BUCKET)
    assert clip(spans[-1], within) == within
    for moment in (EPOCH, LATEST - timedelta(microseconds=1)):
        (span,) = spans_of([bucket_of(moment)])
        assert span.since <= moment < span.until


def test_words_are_letters_and_digits_in_lower_case() -> None:
    assert words_of("Rate-limit: 100%_of ÜBER, rate") == ["rate", "limit", "100", "of", "über"]
    assert words_of("%_'\x00\ud800--") == []
    assert words_of("x" * 100_000) == ["x" * 40]
    assert has_words("The model is overloaded", ["overloaded", "model"])
    assert not has_words("The model is overloaded", ["load"])
    assert not has_words(None, ["model"])
    assert has_words(None, [])
    many = " ".join(f"w{number}" for number in range(MAX_WORDS + 1))
    assert has_words(many, [f"w{MAX_WORDS - 1}"])
    assert not has_words(many, [f"w{MAX_WORDS}"])


def test_days_are_looked_up_once_each() -> None:
    for first, last in ((0, 0), (5, 400), (0, 84_000)):
        seen = [day for begin, end in slices(first, last) for day in range(end, begin - 1, -1)]
        assert seen == list(range(last, first - 1, -1))
    assert len(list(slices(0, 84_000))) < 15


def test_the_pace_follows_what_is_found() -> None:
    pace = SearchPace(51)
    assert pace.next_size() == 4
    pace.note(4, 0)
    assert pace.next_size() == 32
    pace.note(32, 9)
    assert pace.next_size() == 42 * 36 * 5 // (4 * 9)
    pace.note(100, 60)
    assert pace.next_size() == 4


def test_an_id_says_when_it_was_made() -> None:
    moment = datetime(2026, 11, 29, 12, tzinfo=UTC)
    unix_ms = round(moment.timestamp() * 1000)
    made = ids.new(ids.DECISION, unix_ms=unix_ms)
    for length in range(10, len(made) + 1):
        window = window_of_id(made[:length])
        assert window is not None
        assert window.since < moment < window.until
    assert window_of_id(made[:7]) is None
    for other in ("dec_", "dec_zzzzzzzzzz", "dec_%%%%%%%%", "dec_ü", "dec_" + "v" * 26):
        assert window_of_id(other) is None or other.endswith("v")
