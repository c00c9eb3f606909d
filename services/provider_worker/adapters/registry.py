"""Which adapter serves which provider."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.providers import PROVIDERS, CompatibleApi, ProviderFacts
from services.provider_worker.adapters.adapter import Adapter, RefusedByAdapter
from services.provider_worker.adapters.anthropic.adapter import AnthropicAdapter
from services.provider_worker.adapters.bedrock.adapter import BedrockAdapter
from services.provider_worker.adapters.cohere.adapter import CohereAdapter
from services.provider_worker.adapters.gemini.adapter import AI_STUDIO, VERTEX, GeminiAdapter
from services.provider_worker.adapters.openai_compatible.adapter import CompatibleAdapter
from services.provider_worker.adapters.openai_compatible.providers import (
    ADDED,
    COMPATIBLE_PROVIDERS,
    LLAMACPP,
    OLLAMA,
    VLLM,
    CompatibleProvider,
)

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


_ADDED_ROWS: Mapping[CompatibleApi, CompatibleProvider] = {
    CompatibleApi.GENERIC: ADDED,
    CompatibleApi.VLLM: VLLM,
    CompatibleApi.OLLAMA: OLLAMA,
    CompatibleApi.LLAMACPP: LLAMACPP,
}


@lru_cache(maxsize=256)
def _added_adapter(facts: ProviderFacts, api: CompatibleApi) -> Adapter:
    return CompatibleAdapter(replace(_ADDED_ROWS[api], name=facts.name), facts)


def find_adapter(provider: str) -> Adapter | None:
    """Return the adapter of `provider`: one of this build, or that of a provider that the operator added; None without any."""
    if (adapter := ADAPTERS.get(provider)) is not None:
        return adapter
    facts = PROVIDERS.get(provider)
    return None if facts is None or facts.api is None else _added_adapter(facts, facts.api)


def adapter_for(provider: str) -> Adapter:
    """Return the adapter of `provider`. Raises RefusedByAdapter if this worker has none."""
    adapter = find_adapter(provider)
    if adapter is None:
        message = f"This worker cannot call {provider!r}; update it, or choose one of: {', '.join(sorted(ADAPTERS))}."
        raise RefusedByAdapter(Failure(failure_class=FailureClass.UNAVAILABLE, message=message, where=Where.NOT_SENT))
    return adapter
