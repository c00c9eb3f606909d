"""The approved catalog: models, and the offerings of each with provider, upstream name and region.

A model is the same in every offering; price, residency and reachability belong to the offering. Prices are in the price
list. Pure.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import AliasChoices, ConfigDict, Field, StrictBool

from keyferry.contracts.envelope import Message
from keyferry.contracts.ids import ChosenModel, Operation, ProviderName
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.text import Refusing

Region = Annotated[str, Refusing(40, pattern=r"^[a-z0-9-]+$", form="a-z 0-9 and -")]
Description = Annotated[str, Refusing(300, no_key=True, visible=True)]
"""A line about a model, for people."""
TokenLimit = Annotated[int, Field(ge=1, le=1_000_000_000)]
"""Tokens, or numbers of an embedding; no model is near the bound."""


class ModelClass(StrEnum):
    """A model's position in its maker's range."""

    FLAGSHIP = "flagship"
    BALANCED = "balanced"
    BUDGET = "budget"


class Capability(StrEnum):
    """A capability of a model."""

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
    """A part of the catalog's files. Unknown fields are rejected, so that a misspelt one does not pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Offering(CatalogPart):
    """A model at a provider."""

    provider: ProviderName
    upstream: ChosenModel
    """The provider's name for the model."""
    region: Region | None = None
    """Prefix of a key's region or location that this offering requires; null fits every key of the provider."""
    eu: StrictBool = False
    """Whether the provider processes its calls inside the European Union."""


class CatalogModel(CatalogPart):
    """One approved model. Token counts are null where the figure is not certain."""

    id: ChosenModel
    """The name that callers use; never the name of a provider with a slash, unless the provider calls it so itself."""
    maker: Description
    title: Description
    description: Description
    best_for: list[Description] = Field(min_length=1, max_length=20)
    model_class: ModelClass = Field(validation_alias=AliasChoices("class", "model_class"))
    """`class` in the catalog's files."""
    capabilities: list[Capability] = Field(min_length=1, max_length=20)
    context_tokens: TokenLimit | None = None
    """Prompt and completion together."""
    max_output_tokens: TokenLimit | None = None
    dimensions: TokenLimit | None = None
    """Length of an embedding unless the request asks for a shorter one."""
    tier: Tier
    """The lowest tier that may use it with platform keys; every tier may with its own provider key."""
    recommended: list[Operation] = Field(default_factory=list, max_length=50)
    """Operations for which it is recommended."""
    default: StrictBool = False
    """Whether it is the default for tenants without preferences: one chat model and one embedding model are."""
    aliases: list[ChosenModel] = Field(default_factory=list, max_length=50)
    """Other names for exactly this model."""
    offerings: list[Offering] = Field(min_length=1, max_length=50)
    """In order of preference, all else being equal."""


class ModelSort(StrEnum):
    """The order of a model list."""

    POPULARITY = "popularity"
    """The catalog's own order."""
    CONTEXT = "context"
    """Longest first, unknown lengths last."""
    NAME = "name"
    COST = "cost"
    """Cheapest first, by the list price of a million input and a million output tokens; unknown prices last."""
    LATENCY = "latency"
    """Fastest first, by the median of recent answers at the provider that would be tried first; unknown ones last."""
