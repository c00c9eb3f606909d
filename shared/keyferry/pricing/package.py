"""List prices from the community-maintained package `genai-prices`, converted to our tariffs.

Only its data is used: the arithmetic is ours and exact, and tests compare it with the package's own. A price that cannot be
represented exactly (more than six decimal places, beyond the noise of a binary fraction) is dropped. Pure.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from importlib.metadata import version

from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices
from genai_prices.types import Provider as PricedProvider

from keyferry.pricing.tariff import PRICE_PLACES, Rate, Tariff, per_token

VERSION = f"genai-prices {version('genai-prices')}"

_IDS: Mapping[str, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "vertex": "google",
    "mistral": "mistral",
    "cohere": "cohere",
    "xai": "x-ai",
    "groq": "groq",
    "together": "together",
    "fireworks": "fireworks",
    "perplexity": "perplexity",
    "openrouter": "openrouter",
    "deepseek": "deepseek",
    "azure": "azure",
    "bedrock": "aws",
}
"""Our provider names to the package's. Hugging Face's prices depend on who serves the model, which its name contains."""

_PACKAGE_NAMES: Mapping[str, tuple[str, ...]] = {
    "input": ("input_mtok",),
    "cached_read": ("cache_read_mtok",),
    "cache_write": ("cache_write_5m_mtok", "cache_write_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok",),
    "output": ("output_mtok",),
    "reasoning": ("output_reasoning_mtok",),
    "audio": ("input_audio_mtok",),
    "image": ("input_image_mtok",),
    "audio_output": ("output_audio_mtok",),
    "image_output": ("output_image_mtok",),
}
_NOISE = Decimal("1e-9")
"""The largest error of prices that the package read from binary fractions."""
_QUANTUM = Decimal(1).scaleb(-PRICE_PLACES)
_PER_THOUSAND_REQUESTS = Decimal(10) ** 9

_TARIFFS: dict[int, tuple[ModelPrice, Tariff | None]] = {}
"""By the identity of the price, which is kept beside its tariff and can therefore be no other object's."""
_BY_ID: Mapping[str, PricedProvider] = {provider.id: provider for provider in providers}


def find_tariff(provider: str, model: str, started_at: datetime, service_tier: str | None) -> Tariff | None:
    """Return the package's tariff for an attempt that began at `started_at` (with a time zone); None if it has none."""
    info = _find(provider, model)
    if info is None:
        return None
    context = _context(service_tier)
    price = info.get_prices(started_at, context)
    return _shared_tariff(price) if context is None else _tariff(price)


def _shared_tariff(price: ModelPrice) -> Tariff | None:
    """Convert a price that is part of the package's data, once: it is the same object for every attempt."""
    known = _TARIFFS.get(id(price))
    if known is None or known[0] is not price:
        known = _TARIFFS[id(price)] = (price, _tariff(price))
    return known[1]


@lru_cache(maxsize=4096)
def _find(provider: str, model: str) -> ModelInfo | None:
    for priced, name in _lookup_names(provider, model):
        found = _BY_ID[priced].find_model(name) if priced in _BY_ID else None
        if found is not None:
            return found
    return None


def _lookup_names(provider: str, model: str) -> list[tuple[str, str]]:
    """Return the package's provider and model names under which the model may be listed."""
    if provider == "huggingface":
        name, colon, served_by = model.rpartition(":")
        return [(f"huggingface_{served_by}", name)] if colon else []
    if provider == "bedrock":
        # An inference profile starts with a geography: `eu.anthropic.claude-…`. The package lists models without it.
        geography, dot, rest = model.partition(".")
        names = [model, rest] if dot and len(geography) <= len("global") and "." in rest else [model]
        return [("aws", name) for name in names]
    return [(_IDS[provider], model)] if provider in _IDS else []


def _context(service_tier: str | None) -> dict[str, str] | None:
    if service_tier is None:
        return None
    return {"processing": "batch"} if service_tier == "batch" else {"service_tier": service_tier}


def _tariff(price: ModelPrice) -> Tariff | None:
    rates: dict[str, Rate] = {}
    for kind, names in _PACKAGE_NAMES.items():
        value = next((value for name in names if (value := getattr(price, name, None)) is not None), None)
        if value is not None:
            rate = _rate(value)
            if rate is None:
                return None
            rates[kind] = rate
    requests = getattr(price, "requests_kcount", None)
    fee = requests.base if isinstance(requests, TieredPrices) else requests
    if not rates and fee is None:
        return None
    return Tariff(rates, int(fee * _PER_THOUSAND_REQUESTS) if fee is not None else 0)


def _rate(value: Decimal | TieredPrices) -> Rate | None:
    if isinstance(value, TieredPrices):
        base = _exact(value.base)
        steps = [(tier.start, _exact(tier.price)) for tier in value.tiers]
        if base is None or any(price is None for _, price in steps):
            return None
        return Rate(base, tuple((start, price) for start, price in steps if price is not None))
    price = _exact(value)
    return None if price is None else Rate(price)


def _exact(dollars_per_million: Decimal) -> int | None:
    near = dollars_per_million.quantize(_QUANTUM, ROUND_HALF_EVEN)
    return per_token(near) if abs(near - dollars_per_million) < _NOISE else None
