"""What a tenant can call now, with everything that a choice by power level needs of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keyferry.contracts.catalog import Capability
from keyferry.contracts.health import Target
from services.router.power.quality import ModelQuality
from services.router.power.ratings import NOTHING_LEARNED, LearnedQuality

ANY_TENANT = "0-any-tenant-0"
"""Stands in texts for the name of a tenant that shares its table with others."""


@dataclass(frozen=True, slots=True)
class UnitPrices:
    """Prices in millionths of a dollar per million tokens."""

    input: int
    output: int

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """Return the cost in 10^-12 dollars."""
        return self.input * input_tokens + self.output * output_tokens


@dataclass(frozen=True, slots=True)
class CallableModel:
    """A chat model that the tenant can call now."""

    id: str
    capabilities: frozenset[Capability]
    context_tokens: int
    max_output_tokens: int | None
    quality: ModelQuality
    prices: UnitPrices | None
    """Of the offering that is tried first; None without a list price."""
    cheapest: UnitPrices | None
    """Of the offering that `eco` tries first."""
    providers: frozenset[str]
    """Where it can be called: providers, and the tenant's own endpoints by name."""
    target: Target
    """What is called first while it is healthy."""
    cheapest_target: Target
    """What `eco` calls first while it is healthy."""


@dataclass(frozen=True, slots=True)
class PowerTable:
    """The models among which a level chooses for one tenant, in the catalog's order."""

    models: Sequence[CallableModel] = ()
    others: Mapping[str, str] = field(default_factory=dict)
    """By id the models of the catalog that the tenant cannot call now, with the reason; `reasons_for` gives them."""
    learned: LearnedQuality = NOTHING_LEARNED
    valid_until: datetime | None = None
    """When it has to be built again even if nothing is changed, since a key expires then; None for never."""

    def reasons_for(self, tenant: str) -> list[tuple[str, str]]:
        """Return the models that a tenant cannot call now, each with its reason."""
        return [(model, detail.replace(ANY_TENANT, tenant)) for model, detail in self.others.items()]


EMPTY_TABLE = PowerTable()
