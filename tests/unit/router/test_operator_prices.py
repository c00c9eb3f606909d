"""What an operator may set as a price, and when the router shows it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from keyferry.contracts.price_edits import PriceEntry, SetPrice
from keyferry.contracts.providers import PROVIDERS
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import PriceList
from services.router.catalog.editing import Change, RefusedChange
from services.router.catalog.pricing import check_removal, price_entry, warnings
from services.router.planning.list_prices import ListPrices
from tests.support.router.keys_and_prices import catalog

NOW = datetime(2026, 11, 29, 12, 0, 30, 500, tzinfo=UTC)
LISTED = PriceList.parse(
    """
version = "v1"
effective = 2026-01-01
[[price]]
provider = "openai"
model = "gpt-5"
input = 1
output = 2
"""
)


class Shop:
    """The prices that an operator set so far."""

    def __init__(self) -> None:
        self.book = PriceBook(LISTED)
        self.entries: list[PriceEntry] = []

    def set(self, **fields: Any) -> PriceEntry:
        command = SetPrice.model_validate({"provider": "openai", "model": "gpt-5", **fields})
        change = Change("operator", NOW, len(self.entries) + 1)
        entry = price_entry(command, self.entries, self.book, PROVIDERS, change)
        self.entries.append(entry)
        self.book.install(self.entries)
        return entry


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_a_price_begins_now_unless_it_says_when_in_whole_seconds(shop: Shop) -> None:
    assert shop.set(prices={"input": "3"}).effective == NOW.replace(microsecond=0)
    assert shop.set(prices={"input": "3"}, effective="2027-01-01T00:00:00").effective == datetime(
        2027, 1, 1, tzinfo=UTC
    )
    paris = shop.set(prices={"input": "3"}, effective="2027-01-01T00:00:00+01:00")
    assert paris.effective == datetime(2026, 12, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"provider": "nosuch", "prices": {"input": "1"}}, "there is no provider of that name"),
        ({"prices": {"input": "1"}, "effective": "2029-01-01T00:00:00Z"}, "at most 366 days ago or 731 days ahead"),
        ({"prices": {"input": "1"}, "effective": "2024-01-01T00:00:00Z"}, "today is 2026-11-29"),
        ({"base": "gpt-5"}, "a price cannot be a multiple of itself"),
        (
            {"model": "other", "base": "nosuch"},
            "openai has no list price for nosuch: set that first, or give amounts for other",
        ),
        ({"model": "other", "base": "ft"}, "the price of ft is itself a multiple"),
    ],
)
def test_a_price_that_cannot_be_meant_is_refused(shop: Shop, fields: dict[str, Any], reason: str) -> None:
    shop.set(model="ft", base="gpt-5", factor="2")
    with pytest.raises(RefusedChange, match=reason):
        shop.set(**fields)


def test_a_base_that_becomes_a_multiple_later_is_refused(shop: Shop) -> None:
    """From then on the multiple would follow a price that no longer holds."""
    shop.set(prices={"input": "2"})
    shop.set(model="other", prices={"input": "5"})
    shop.set(base="other", effective="2027-01-01T00:00:00Z")
    with pytest.raises(RefusedChange, match="the price of gpt-5 is itself a multiple"):
        shop.set(model="ft", base="gpt-5")
    shop.set(prices={"input": "2"}, effective="2027-01-01T00:00:00Z")
    shop.entries.pop(2)
    shop.set(model="ft", base="gpt-5")


def test_a_price_is_not_removed_while_multiples_of_it_would_be_unknown(shop: Shop) -> None:
    own = shop.set(model="other", prices={"input": "1"})
    shop.set(model="ft", base="other")
    shop.entries.remove(own)
    shop.book.install(shop.entries)
    with pytest.raises(RefusedChange, match="the prices of ft are multiples of this one, and would be unknown"):
        check_removal(own, shop.entries, shop.book, NOW)
    listed = shop.set(prices={"input": "1"})
    shop.set(model="ft", base="gpt-5")
    shop.entries.remove(listed)
    shop.book.install(shop.entries)
    check_removal(listed, shop.entries, shop.book, NOW)  # the price file has another


def test_a_base_cannot_become_a_multiple_itself(shop: Shop) -> None:
    shop.set(model="other", prices={"input": "1"})
    shop.set(model="ft", base="gpt-5", factor="2")
    with pytest.raises(RefusedChange, match="the prices of ft are multiples of this one: give it amounts"):
        shop.set(base="other")
    shop.set(prices={"input": "9", "output": "9"})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prices": {"input": "1"}, "base": "m"},
        {"prices": {"input": "1"}, "factor": "2"},
        {"prices": {"output": "1"}},
        {"factor": "2"},
        {"prices": {"input": "1", "tokens": "1"}},
        {"prices": {"input": "1"}, "currency": "EUR"},
        {"prices": {"input": "1"}, "effective": "9999-12-31T23:59:59Z"},
        {"model": "two words", "prices": {"input": "1"}},
        {"model": "nul\x00", "prices": {"input": "1"}},
        {"model": "\ud800", "prices": {"input": "1"}},
        {"model": "m" * 201, "prices": {"input": "1"}},
        {"model": "sk-proj-abcdefghijklmnop0123456789ABCDEF", "prices": {"input": "1"}},
        {"provider": "Open AI", "prices": {"input": "1"}},
    ],
)
def test_a_command_with_nothing_too_much_or_bad_text_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SetPrice.model_validate({"provider": "openai", "model": "gpt-5", **fields})


def test_it_warns_of_a_price_that_nothing_in_the_catalog_has(shop: Shop) -> None:
    assert warnings(shop.set(prices={"input": "1", "output": "1"}), catalog()) == []
    found = warnings(shop.set(model="gpt5", prices={"input": "1"}), catalog())
    assert "no model of the catalog is offered by openai as gpt5" in found[0]
    assert "there is no price for output" in found[1]


def test_the_router_shows_a_new_price_at_once_and_a_later_one_on_time(shop: Shop) -> None:
    shown = ListPrices(shop.book)

    def price(moment: datetime) -> Decimal:
        found = shown.of("openai", "gpt-5", moment)
        assert found is not None
        return found.input_usd

    soon = NOW.replace(microsecond=0) + timedelta(minutes=1)
    assert price(NOW) == 1
    shop.set(prices={"input": "3", "output": "4"})
    shop.set(prices={"input": "5", "output": "6"}, effective=soon)
    assert price(NOW) == 1
    shown.forget()
    assert [price(moment) for moment in (NOW, soon - timedelta(seconds=1), soon, NOW)] == [3, 3, 5, 3]
