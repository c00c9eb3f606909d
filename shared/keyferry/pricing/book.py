"""List prices as they are in force: those that an operator set, then the price file, then the price package. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from keyferry.contracts.price_edits import PriceEntry
from keyferry.pricing.file import PriceList
from keyferry.pricing.tariff import Rate, Tariff, per_token

PricedTariff = tuple[Tariff, str]
"""A tariff and its price version."""


class PriceBook:
    """The prices of a price list, and in front of them those of an operator, which change while the process runs.

    An operator's price holds for attempts that began at its moment or later. Its price version is `operator` and its revision,
    which is different for every price that was ever set.
    """

    def __init__(self, listed: PriceList) -> None:
        self._listed = listed
        self._entries: dict[tuple[str, str], list[PriceEntry]] = {}
        self._moments: list[datetime] = []

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    @property
    def version(self) -> str:
        """The version of the price file."""
        return self._listed.version

    def install(self, entries: Iterable[PriceEntry]) -> None:
        """Replace the operator's prices by these."""
        found: dict[tuple[str, str], list[PriceEntry]] = {}
        for entry in sorted(entries, key=lambda entry: (entry.effective, entry.revision)):
            found.setdefault((entry.provider, entry.model), []).append(entry)
        self._entries = found
        self._moments = sorted({entry.effective for own in found.values() for entry in own})

    def change_before(self, moment: datetime) -> datetime:
        """Return when the last of the operator's prices until `moment` began to hold; the beginning of time without one."""
        place = bisect_right(self._moments, moment)
        return self._moments[place - 1] if place else datetime.min.replace(tzinfo=UTC)

    def change_after(self, moment: datetime) -> datetime:
        """Return when the next of the operator's prices after `moment` begins to hold; the end of time without one."""
        place = bisect_right(self._moments, moment)
        return self._moments[place] if place < len(self._moments) else datetime.max.replace(tzinfo=UTC)

    def find(self, provider: str, model: str, moment: datetime, service_tier: str | None = None) -> PricedTariff | None:
        """Return the tariff of a call that begins at `moment` (with a time zone), and its price version; None without a price.

        `model` is the provider's own name. An operator's price is for every service tier.
        """
        return self.find_first(provider, (model,), moment, service_tier)

    def find_first(
        self, provider: str, models: Sequence[str], moment: datetime, service_tier: str | None = None
    ) -> PricedTariff | None:
        """Return the first price of these names of one model: the operator's for any of them before a listed one for any."""
        for model in models:
            if (entry := self._entry(provider, model, moment)) is not None:
                return self._price(entry, moment, service_tier)
        return self._listed.find_first(provider, models, moment, service_tier)

    def _entry(self, provider: str, model: str, moment: datetime, *, amounts: bool = False) -> PriceEntry | None:
        """Return the operator's price that holds at a moment; with `amounts` only one that is no multiple of another."""
        held = [
            entry
            for entry in self._entries.get((provider, model), ())
            if entry.effective <= moment and (entry.prices is not None or not amounts)
        ]
        return held[-1] if held else None

    def _price(self, entry: PriceEntry, moment: datetime, service_tier: str | None) -> PricedTariff | None:
        version = f"operator {entry.revision}"
        if entry.prices is not None:
            return _tariff(entry), version
        # The base of a multiple is never a multiple itself, so the look-up ends here.
        assert entry.base is not None
        own = self._entry(entry.provider, entry.base, moment, amounts=True)
        if own is not None:
            return _multiple(_tariff(own), entry.factor), f"{version} (operator {own.revision})"
        listed = self._listed.find(entry.provider, entry.base, moment, service_tier)
        if listed is None:
            return None
        tariff, base_version = listed
        return _multiple(tariff, entry.factor), f"{version} ({base_version})"


def _tariff(entry: PriceEntry) -> Tariff:
    assert entry.prices is not None
    amounts = {kind: per_token(price) for kind, price in entry.prices.given().items()}
    fee = amounts.pop("per_request", 0)
    return Tariff({kind: Rate(amount) for kind, amount in amounts.items()}, fee)


def _multiple(tariff: Tariff, factor: Decimal | None) -> Tariff:
    """Return a tariff times a factor, each rate rounded to 10^-12 dollars per token: the places that an amount of money has."""
    if factor is None:
        return tariff
    by = factor
    rates = {
        kind: Rate(_times(rate.base, by), tuple((start, _times(price, by)) for start, price in rate.steps))
        for kind, rate in tariff.rates.items()
    }
    return Tariff(rates, _times(tariff.per_request, by))


def _times(amount: int, factor: Decimal) -> int:
    return int((amount * factor).to_integral_value(ROUND_HALF_EVEN))
