"""Models that an operator retired: their names stay known, so that a request for one is refused with the reason. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from keyferry.contracts.catalog import CatalogModel, Offering
from keyferry.contracts.catalog_edits import Retirement
from keyferry.contracts.providers import NAMED_BY_TENANT


@dataclass(frozen=True, slots=True)
class RetiredModel:
    """A retired model, under every name that it had."""

    id: str
    retirement: Retirement
    model: CatalogModel | None = None
    """As it was; None if the catalog's files have dropped it since."""

    def names(self) -> tuple[str, ...]:
        """Return the names of the catalog that were its own."""
        return (self.id, *self.model.aliases) if self.model else (self.id,)

    def offerings(self) -> Iterable[Offering]:
        """Return its former offerings, without those whose names tenants choose: these stay the tenants' own."""
        offerings = self.model.offerings if self.model else ()
        return (offering for offering in offerings if offering.provider not in NAMED_BY_TENANT)

    def advice(self) -> str:
        """Return what to say to a caller that asks for it."""
        use = f": use {self.retirement.replacement}" if self.retirement.replacement else ""
        return f"the operator has retired the model {self.id}{use}"
