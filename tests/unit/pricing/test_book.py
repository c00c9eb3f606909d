"""Prices that an operator sets: dated, exact, and before those of the file and the package."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.price_edits import PriceEntry
from keyferry.contracts.usage import TokenUsage
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import PriceList

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
LISTED = PriceList.parse(
    """
version = "v1"
effective = 2026-01-01
[[price]]
provider = "p"
model = "m"
input = 1
output = 2
cached_read = 0.1
[[price]]
provider = "p"
model = "m"
above_prompt_tokens = 1000
input = 3
output = 4
[[price]]
provider = "p"
model = "served"
input = 100
output = 100
"""
)
USAGE = TokenUsage(input=1_000, output=1_000)


def entry(model: str = "m", *, effective: datetime = NOON, revision: int = 1, **fields: Any) -> PriceEntry:
    values = {"provider": "p", "model": model, "effective": effective, "revision": revision}
    return PriceEntry.model_validate({**values, "changed_at": NOON, "changed_by": "operator", **fields})


def book(*entries: PriceEntry) -> PriceBook:
    made = PriceBook(LISTED)
    made.install(entries)
    return made


def cost(prices: PriceBook, moment: datetime = NOON, *models: str, usage: TokenUsage = USAGE) -> tuple[str, str] | None:
    found = prices.find_first("p", models or ("m",), moment)
    return None if found is None else (str(found[0].cost(usage)), found[1])


def test_an_attempt_keeps_the_price_of_the_moment_when_it_began() -> None:
    prices = book(
        entry(prices={"input": "5", "output": "6"}, revision=7),
        entry(prices={"input": "7", "output": "8"}, revision=9, effective=NOON + timedelta(days=1)),
    )
    assert cost(prices, NOON - timedelta(microseconds=1)) == ("0.003000000000", "v1")
    assert cost(prices, NOON) == ("0.011000000000", "operator 7")
    assert cost(prices, NOON + timedelta(hours=23)) == ("0.011000000000", "operator 7")
    assert cost(prices, NOON + timedelta(days=1)) == ("0.015000000000", "operator 9")


def test_removing_a_price_leaves_the_one_before_it_in_force() -> None:
    prices = book(entry(prices={"input": "5", "output": "6"}))
    prices.install(())
    assert cost(prices) == ("0.003000000000", "v1")
    assert len(prices) == 0


def test_what_the_operator_set_for_any_name_of_the_model_comes_first() -> None:
    """A provider reports its own name of the model that it served, which the package may know."""
    prices = book(entry(prices={"input": "5", "output": "6"}, revision=3))
    assert cost(prices, NOON, "served", "m") == ("0.011000000000", "operator 3")
    assert cost(book(), NOON, "served", "m") == ("0.200000000000", "v1")


def test_a_fine_tuned_model_costs_a_multiple_of_its_base_with_all_its_steps() -> None:
    prices = book(entry("ft:m:acme", base="m", factor="2.5", revision=4))
    assert cost(prices, NOON, "ft:m:acme") == ("0.007500000000", "operator 4 (v1)")
    long = TokenUsage(input=2_000, output=1_000)
    assert cost(prices, NOON, "ft:m:acme", usage=long) == ("0.025000000000", "operator 4 (v1)")
    own_base = book(
        entry("ft:m:acme", base="m", factor="2", revision=4), entry(prices={"input": "5", "output": "6"}, revision=5)
    )
    assert cost(own_base, NOON, "ft:m:acme") == ("0.022000000000", "operator 4 (operator 5)")
    plain = book(entry("ft:m:acme", base="m"))
    assert cost(plain, NOON, "ft:m:acme") == ("0.003000000000", "operator 1 (v1)")


def test_a_multiple_of_nothing_or_of_a_multiple_has_no_price() -> None:
    prices = book(entry("a", base="b"), entry("b", base="a"), entry("c", base="nosuch"))
    assert cost(prices, NOON, "a") is None
    assert cost(prices, NOON, "b") is None
    assert cost(prices, NOON, "c") is None


def test_it_says_when_a_price_begins_to_hold() -> None:
    later = NOON + timedelta(hours=1)
    prices = book(entry(prices={"input": "5"}), entry("n", effective=later, prices={"input": "5"}))
    assert (prices.change_before(NOON), prices.change_after(NOON)) == (NOON, later)
    assert prices.change_before(NOON - timedelta(seconds=1)) == datetime.min.replace(tzinfo=UTC)
    assert prices.change_after(later) == datetime.max.replace(tzinfo=UTC)


@given(price=st.decimals(0, 1_000_000, places=6, allow_nan=False), factor=st.decimals(Decimal("0.0001"), 100, places=4))
def test_a_multiple_is_exact_to_the_twelfth_place(price: Decimal, factor: Decimal) -> None:
    prices = book(entry("base", prices={"input": str(price)}), entry("ft", base="base", factor=str(factor)))
    found = prices.find("p", "ft", NOON)
    assert found is not None
    one = found[0].cost(TokenUsage(input=1))
    assert one is not None
    assert abs(one - price * factor / 1_000_000) <= Decimal("5e-13")


@pytest.mark.parametrize("bad", ["-1", "nan", "inf", "1000001", "0.0000001", 0.5, True, "", "1e99"])
def test_an_amount_that_is_no_price_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="input"):
        entry(prices={"input": bad})


@pytest.mark.parametrize("bad", ["0", "-1", "101", "1.00001", "nan", 1.5])
def test_an_amount_that_is_no_factor_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="factor"):
        entry(base="m", factor=bad)
