"""The calls that a key test makes to each provider before its chat, one row each.

A chat with one token is what a key is for, and decides. Before it come cheaper calls that reveal more: whether the key
is known, what money is left, which models it may call. The adapter attaches the key, so no row says how.

Sources: the providers' API references, linked from `keyferry.contracts.providers`. A model list that is public, or not
documented as private, proves nothing about the key. Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import quote

from keyferry.contracts.providers import PROVIDERS

_ANTHROPIC_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class GetCall:
    """One GET. `url` builds its address from the key's base URL (without a trailing slash) and fields."""

    url: Callable[[str, Mapping[str, str]], str]
    headers: Mapping[str, str] = field(default_factory=dict)
    proves: bool = True
    """Whether a 2xx response shows that the provider accepts the key."""


@dataclass(frozen=True, slots=True)
class KeyTestPlan:
    """The calls to one provider."""

    models: GetCall | None = None
    """The models that the key may call."""
    credit: tuple[GetCall, ...] = ()
    """The remaining money, or the rest of the key's own limit; the first is the first call of all."""
    names_are_callable: bool = True
    """Whether calls name models as that list does."""


def _below(path: str, *also: str) -> Callable[[str, Mapping[str, str]], str]:
    """Return a builder of the path below the base URL, after removing one of the endings in `also`."""

    def url(base_url: str, fields: Mapping[str, str]) -> str:
        for end in also:
            base_url = base_url.removesuffix(end)
        return f"{base_url}{path}"

    return url


def _azure_models(base_url: str, fields: Mapping[str, str]) -> str:
    endpoint = base_url.removesuffix("/v1").removesuffix("/openai")
    version = fields.get("api_version")
    return (
        f"{endpoint}/openai/models?api-version={quote(version, safe='')}" if version else f"{endpoint}/openai/v1/models"
    )


_MODELS = GetCall(_below("/models"))
_PUBLIC_MODELS = GetCall(_below("/models"), proves=False)
_OPENAI_LIKE = KeyTestPlan(models=_MODELS)
_PUBLIC = KeyTestPlan(models=_PUBLIC_MODELS)

PLANS: Mapping[str, KeyTestPlan] = MappingProxyType(
    {
        "openai": _OPENAI_LIKE,
        "anthropic": KeyTestPlan(
            models=GetCall(
                _below("/v1/models?limit=1000", "/v1"), MappingProxyType({"anthropic-version": _ANTHROPIC_VERSION})
            )
        ),
        "gemini": KeyTestPlan(models=GetCall(_below("/models?pageSize=1000"))),
        # Its lists are the same for everybody, and below another path than the calls.
        "vertex": KeyTestPlan(),
        "mistral": _OPENAI_LIKE,
        "cohere": KeyTestPlan(models=GetCall(_below("/v1/models?page_size=1000&endpoint=chat"))),
        "xai": _OPENAI_LIKE,
        "groq": _OPENAI_LIKE,
        "together": _OPENAI_LIKE,
        "fireworks": _OPENAI_LIKE,
        "deepinfra": _PUBLIC,
        "perplexity": KeyTestPlan(),
        "huggingface": _PUBLIC,
        "openrouter": KeyTestPlan(models=_PUBLIC_MODELS, credit=(GetCall(_below("/key")), GetCall(_below("/credits")))),
        "deepseek": KeyTestPlan(models=_MODELS, credit=(GetCall(_below("/user/balance", "/v1")),)),
        # It lists models that can be deployed; calls name deployments.
        "azure": KeyTestPlan(models=GetCall(_azure_models), names_are_callable=False),
        # Its lists are on another host; a key is bound to its own host and must not be sent there.
        "bedrock": KeyTestPlan(),
        "vllm": _OPENAI_LIKE,
        "ollama": _PUBLIC,
        "llamacpp": _PUBLIC,
        "custom": _PUBLIC,
    }
)
"""Provider -> the calls to it."""


def plan_for(provider: str, base_url: str) -> KeyTestPlan:
    """Return the plan for a key of `provider` at `base_url`; an empty one if the provider has no row."""
    if provider == "azure" and base_url.rstrip("/").endswith("/models"):
        # Azure AI Foundry's endpoint, for the same kind of key, has no list.
        return KeyTestPlan()
    facts = PROVIDERS.get(provider)
    if facts is not None and facts.api is not None:
        return PLANS["custom"]
    return PLANS.get(provider, KeyTestPlan())
