"""What a request needs of a model, and how much of it the caller wants to pay for. Pure."""

from enum import StrEnum

from keyferry.contracts.envelope import Message
from keyferry.contracts.text import Count, Ordinal


class PowerLevel(StrEnum):
    """How a model is chosen where the request leaves the choice to the gateway."""

    ECO = "eco"
    """The cheapest model that fits."""
    BALANCED = "balanced"
    """Cost against quality."""
    PRECISION = "precision"
    """The best model that fits."""


DEFAULT_POWER_LEVEL = PowerLevel.BALANCED
AUTO_MODEL = "auto"
"""The virtual model for which the gateway also chooses the power level, by what the request needs."""
DEFAULT_MODEL = "default"
"""The virtual model that stands for the preferred model of the request's operation, or else for the default model."""
LEVEL_MODELS: frozenset[str] = frozenset({*PowerLevel, AUTO_MODEL})
"""The virtual models for which a power level chooses the model."""
VIRTUAL_MODELS: frozenset[str] = LEVEL_MODELS | {DEFAULT_MODEL}
"""Names that stand for a choice of the gateway; no model, endpoint or server may be called so."""


class RequestFeatures(Message):
    """What planning has to know about a request's body, which the router does not read."""

    input_tokens: Count = 0
    """An estimate, with images counted."""
    max_output_tokens: Count | None = None
    """The limit that the request sets, if it sets one."""
    choices: Ordinal = 1
    """How many answers it asks for, each of that length."""
    tools: bool = False
    """Whether it offers tools."""
    json_schema: bool = False
    """Whether the answer has to follow a JSON Schema."""
    images: bool = False
    image_count: Count = 0
    """How many it has; 0 also from a sender that does not count them."""
    image_tokens: Count = 0
    """What they are in `input_tokens`."""
    audio: bool = False
    priority: bool = False
    """Whether it asks for faster processing, for which some providers charge more."""
    code: bool = False
    """Whether it is about program code, as far as its text shows."""
