"""What setting or removing a price does, or the reason why it is refused. Pure."""

from collections.abc import Container, Iterable
from datetime import UTC, datetime, timedelta

from keyferry.contracts.price_edits import PriceEntry, SetPrice
from keyferry.contracts.service import ErrorCode
from keyferry.pricing.book import PriceBook
from services.router.catalog.editing import Change, RefusedChange
from services.router.catalog.lookup import Catalog

_ECHO = "echo"
_PAST = timedelta(days=366)
_FUTURE = timedelta(days=731)
MAX_PRICES = 10_000
"""Far above any real list; every router and the ledger hold all of them."""
_MAX_NAMED = 5


def price_entry(
    command: SetPrice, stored: Iterable[PriceEntry], book: PriceBook, providers: Container[str], change: Change
) -> PriceEntry:
    """Return the price to store. `book` has the prices without the new one. Raises RefusedChange."""
    stored = list(stored)
    if command.provider != _ECHO and command.provider not in providers:
        raise RefusedChange(
            ErrorCode.NOT_FOUND, "there is no provider of that name (`keyferry providers list` shows all of them)"
        )
    if len(stored) >= MAX_PRICES:
        raise RefusedChange(
            ErrorCode.CONFLICT, f"there are {MAX_PRICES} prices, which is the most: remove old ones first"
        )
    effective = _check_moment(command.effective, change.now)
    if command.base is not None:
        _check_base(command, command.base, stored, book, effective, change.now)
    return PriceEntry(
        provider=command.provider,
        model=command.model,
        effective=effective,
        prices=command.prices,
        base=command.base,
        factor=command.factor,
        revision=change.revision,
        changed_at=change.now,
        changed_by=change.actor,
    )


def check_removal(removed: PriceEntry, left: Iterable[PriceEntry], book: PriceBook, now: datetime) -> None:
    """Check that no multiple of a removed price is left without one. `book` has what is left. Raises RefusedChange."""
    depending = [entry for entry in left if entry.provider == removed.provider and entry.base == removed.model]
    without = {
        entry.model for entry in depending if book.find(entry.provider, entry.model, max(entry.effective, now)) is None
    }
    if without:
        raise RefusedChange(
            ErrorCode.CONFLICT,
            f"the prices of {', '.join(sorted(without)[:_MAX_NAMED])} are multiples of this one, and would be unknown: set other"
            " prices for them first",
        )


def warnings(entry: PriceEntry, catalog: Catalog) -> list[str]:
    """Return what may keep a price from being used as it is meant."""
    found = []
    known = {(offering.provider, offering.upstream) for model in catalog for offering in model.offerings}
    if entry.provider != _ECHO and (entry.provider, entry.model) not in known:
        found.append(
            f"no model of the catalog is offered by {entry.provider} as {entry.model}: the price is for calls with own keys,"
            " unless you add such an offering"
        )
    if entry.prices is not None and entry.prices.output is None:
        found.append("there is no price for output, so only embeddings can be priced with it")
    return found


def _check_moment(given: datetime | None, now: datetime) -> datetime:
    """Return the moment in UTC, in whole seconds. Raises RefusedChange for one that is far away."""
    moment = given or now
    moment = (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC).replace(microsecond=0)
    if not now - _PAST <= moment <= now + _FUTURE:
        raise RefusedChange(
            ErrorCode.INVALID,
            f"a price begins at most {_PAST.days} days ago or {_FUTURE.days} days ahead; today is {now:%Y-%m-%d}",
        )
    return moment


def _check_base(
    command: SetPrice, base: str, stored: Iterable[PriceEntry], book: PriceBook, effective: datetime, now: datetime
) -> None:
    """Check that the base of a multiple has a price of its own, so that none leads to another. Raises RefusedChange."""
    if base == command.model:
        raise RefusedChange(ErrorCode.INVALID, "a price cannot be a multiple of itself: name another model as the base")
    own = [entry for entry in stored if entry.provider == command.provider]
    of_base = sorted((entry for entry in own if entry.model == base), key=lambda entry: entry.effective)
    # From the one that holds when this price begins: also one that is set for later must have amounts.
    first = max(sum(entry.effective <= effective for entry in of_base) - 1, 0)
    if any(entry.base is not None for entry in of_base[first:]):
        raise RefusedChange(
            ErrorCode.INVALID, f"the price of {base} is itself a multiple: name the model that it is a multiple of"
        )
    if depending := sorted({entry.model for entry in own if entry.base == command.model}):
        raise RefusedChange(
            ErrorCode.INVALID,
            f"the prices of {', '.join(depending[:_MAX_NAMED])} are multiples of this one: give it amounts",
        )
    if book.find(command.provider, base, max(effective, now)) is None:
        raise RefusedChange(
            ErrorCode.INVALID,
            f"{command.provider} has no list price for {base}: set that first, or give amounts for {command.model}",
        )
