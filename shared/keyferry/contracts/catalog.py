"""The approved catalog: models apart from who makes them, and the offerings of each: at which provider, under which name, where.

A model is the same thing behind every offering of it; price, residency and reachability belong to the offering. Prices are
the price list's and are not here.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from keyferry.contracts.envelope import Message
from keyferry.contracts.ids import ModelName
from keyferry.contracts.tenancy import Tier

Words = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]
Operation = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,63}$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]


class ModelClass(StrEnum):
    """What kind of choice a model is among those of its maker."""

    FLAGSHIP = "flagship"
    BALANCED = "balanced"
    BUDGET = "budget"


class Capability(StrEnum):
    """What a model can do."""

    CHAT = "chat"
    REASONING = "reasoning"
    VISION = "vision"
    AUDIO_INPUT = "audio_input"
    TOOLS = "tools"
    JSON_SCHEMA = "json_schema"
    """Answers that follow a given JSON Schema."""
    CODING = "coding"
    EMBEDDINGS = "embeddings"


class CatalogPart(Message):
    """A part of the catalog's files. Unknown fields are refused: a misspelt fact must not pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Offering(CatalogPart):
    """A model at a provider."""

    provider: ProviderName
    upstream: ModelName
    """What the provider calls it."""
    region: Region | None = None
    """What the region or location of a key has to begin with for this offering; null fits any key of the provider."""
    eu: bool = False
    """Whether the provider processes its calls inside the European Union."""


class CatalogModel(CatalogPart):
    """One approved model. Token counts are null where the figure is not certain."""

    id: ModelName
    """The name that callers use; never the name of a provider with a slash, unless the provider calls it so itself."""
    maker: Words
    title: Words
    description: Words
    best_for: list[Words] = Field(min_length=1)
    model_class: ModelClass = Field(alias="class")
    capabilities: list[Capability] = Field(min_length=1)
    context_tokens: int | None = Field(default=None, ge=1)
    """Prompt and answer together."""
    max_output_tokens: int | None = Field(default=None, ge=1)
    dimensions: int | None = Field(default=None, ge=1)
    """Of an embedding that the request does not ask to be shorter."""
    tier: Tier
    """The lowest tier that may use it with the platform's keys; with a key of one's own every tier may."""
    recommended: list[Operation] = Field(default_factory=list)
    """Operations that it is recommended for."""
    default: bool = False
    """Whether it is what a tenant without preferences begins with: one chat model and one embedding model are."""
    aliases: list[ModelName] = Field(default_factory=list)
    """Other names for exactly this model."""
    offerings: list[Offering] = Field(min_length=1)
    """In the order in which they are tried, all else being equal."""


class ModelSort(StrEnum):
    """How a list of models may be ordered."""

    POPULARITY = "popularity"
    """The catalog's own order."""
    CONTEXT = "context"
    """The longest first, unknown lengths last."""
    NAME = "name"
    COST = "cost"
    """The cheapest first, by a million tokens in and a million out at list prices; unknown prices last."""
