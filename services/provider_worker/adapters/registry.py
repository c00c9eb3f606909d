"""Which adapter serves which provider."""

from collections.abc import Mapping
from types import MappingProxyType

from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import Adapter, RefusedByAdapter
from services.provider_worker.adapters.anthropic.adapter import AnthropicAdapter
from services.provider_worker.adapters.bedrock.adapter import BedrockAdapter
from services.provider_worker.adapters.cohere.adapter import CohereAdapter
from services.provider_worker.adapters.gemini.adapter import AI_STUDIO, VERTEX, GeminiAdapter
from services.provider_worker.adapters.openai_compatible.adapter import CompatibleAdapter
from services.provider_worker.adapters.openai_compatible.providers import COMPATIBLE_PROVIDERS

_TRANSLATED: Mapping[str, Adapter] = {
    "anthropic": AnthropicAdapter(),
    "bedrock": BedrockAdapter(),
    "cohere": CohereAdapter(),
    "gemini": GeminiAdapter(AI_STUDIO),
    "vertex": GeminiAdapter(VERTEX),
}
"""Providers with an API of their own: name -> adapter."""

ADAPTERS: Mapping[str, Adapter] = MappingProxyType(
    {**{row.name: CompatibleAdapter(row) for row in COMPATIBLE_PROVIDERS}, **_TRANSLATED}
)
"""Provider name -> adapter. The built-in `echo` provider is not listed: it makes no call (`echo.py`)."""


def adapter_for(provider: str) -> Adapter:
    """Return the adapter of `provider`. Raises RefusedByAdapter if this worker has none."""
    adapter = ADAPTERS.get(provider)
    if adapter is None:
        message = f"This worker cannot call {provider!r}; update it, or choose one of: {', '.join(sorted(ADAPTERS))}."
        raise RefusedByAdapter(Failure(failure_class=FailureClass.UNAVAILABLE, message=message, where=Where.NOT_SENT))
    return adapter
