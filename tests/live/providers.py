"""What is asked of each provider: cheap models of the catalog that nearly every account has."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LiveModels:
    """The models with which a provider is verified, by their ids in the catalog."""

    chat: str
    embedding: str | None = None
    tools: bool = True


MODELS: Mapping[str, LiveModels] = {
    "openai": LiveModels("gpt-4o-mini", "text-embedding-3-small"),
    "anthropic": LiveModels("claude-haiku-4-5"),
    "gemini": LiveModels("gemini-2.5-flash-lite", "gemini-embedding-001"),
    "openrouter": LiveModels("gpt-4o-mini", "text-embedding-3-small"),
    "mistral": LiveModels("mistral-small", "mistral-embed"),
    "cohere": LiveModels("command-r7b", "embed-v4.0"),
    "xai": LiveModels("grok-3-mini"),
    "groq": LiveModels("llama-3.3-70b"),
    "together": LiveModels("llama-3.3-70b"),
    "fireworks": LiveModels("llama-3.3-70b"),
    "deepinfra": LiveModels("llama-3.3-70b"),
    "perplexity": LiveModels("sonar", tools=False),
    "huggingface": LiveModels("llama-3.3-70b"),
    "deepseek": LiveModels("deepseek-chat"),
}
"""By provider; those whose key alone is not enough, such as a cloud's, are not here."""
