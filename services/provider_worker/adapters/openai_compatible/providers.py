"""The OpenAI-compatible providers, one row of declared differences each.

A provider that needs only data is a row here, and no code. Sources: each provider's API reference (linked from
`keyferry.contracts.providers`) and recorded traffic. Base URLs are kept in `keyferry.contracts.providers` only.

Azure OpenAI has three forms of URL (source: the Azure OpenAI REST API reference): the older one with the deployment in
the path and an `api-version`, the newer one below `/openai/v1` that names the deployment as the model, and Azure AI
Foundry's `/models`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from urllib.parse import quote

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import BEARER, HeaderAuth
from services.provider_worker.adapters.openai_compatible.capabilities import (
    AS_IS,
    HOSTED,
    ChatCapabilities,
    EmbeddingCapabilities,
    StreamUsage,
)
from services.provider_worker.adapters.openai_compatible.message_rules import OPEN, MessageRules, ReasoningForm
from services.provider_worker.adapters.openai_compatible.models import (
    deepseek_differences,
    groq_differences,
    mistral_differences,
    openai_differences,
    xai_differences,
)
from services.provider_worker.adapters.openai_format.identifiers import IdentifierRule
from services.provider_worker.adapters.openai_format.prepared import ChatRules
from services.provider_worker.adapters.openai_format.sampling import StopRules

_FOUNDRY_API_VERSION = "2024-05-01-preview"
"""The version that Foundry's `/models` is documented with; used if the key's fields name none."""


def azure_url(base_url: str, path: str, run: AttemptRun) -> tuple[str, str]:
    """Return the URL to call and the model to name, from the endpoint, `run.model` and the key's fields.

    With `api_version` it is the older form, whose deployment is the field `deployment` or else the requested model;
    without one the newer form. A base URL that ends in `/models` is Foundry's, whatever the fields say.
    """
    endpoint = base_url.rstrip("/")
    deployment = run.key_fields.get("deployment") or run.model
    version = run.key_fields.get("api_version")
    if endpoint.endswith("/models"):
        return f"{endpoint}{path}?api-version={_quote(version or _FOUNDRY_API_VERSION)}", run.model
    endpoint = endpoint.removesuffix("/v1").removesuffix("/openai")
    if version:
        return f"{endpoint}/openai/deployments/{_quote(deployment)}{path}?api-version={_quote(version)}", deployment
    return f"{endpoint}/openai/v1{path}", deployment


def _quote(text: str) -> str:
    return quote(text, safe="")


UrlBuilder = Callable[[str, str, AttemptRun], tuple[str, str]]
"""From base URL, path and attempt to the URL to call and the model to name in the body."""


def join_url(base_url: str, path: str, run: AttemptRun) -> tuple[str, str]:
    """Return the path below the base URL, as for every provider but Azure."""
    return base_url.rstrip("/") + path, run.model


@dataclass(frozen=True, slots=True)
class CompatibleProvider:
    """How one provider differs from OpenAI."""

    name: str
    chat_path: str = "/chat/completions"
    embeddings_path: str = "/embeddings"
    auth: HeaderAuth = BEARER
    url: UrlBuilder = join_url
    chat: ChatCapabilities = field(default_factory=ChatCapabilities)
    embeddings: EmbeddingCapabilities | None = None
    """Null if it has none."""
    extras: frozenset[str] = frozenset()
    """Parameters of its own that are sent to no other provider."""
    name_models: frozenset[str] = frozenset()
    """Parameters by which a caller could have another model answer than the one that the limits of the request allow."""
    takes_any_extra: bool = False
    """Whether every parameter passes, because the actual provider is unknown."""
    field_headers: Mapping[str, str] = field(default_factory=dict)
    """Field beside the key -> the header that carries it."""


_AUDIO_OUT = frozenset({"modalities", "audio"})
_AUDIO_IN = frozenset({"input_audio"})
_OPENAI_ACCOUNT = frozenset({"store", "service_tier"})
"""Parameters about OpenAI's own account features."""
_OLD_LIMIT = MappingProxyType({"max_completion_tokens": "max_tokens"})

_OPENAI_ONLY = frozenset(
    {"verbosity", "web_search_options", "safety_identifier", "prompt_cache_retention", "prediction"}
)
"""Parameters that only OpenAI documents."""
_IMAGES = frozenset({"image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"})
_NAMED = frozenset({"system", "developer", "user", "assistant"})

_OPENAI_CHAT = ChatCapabilities(
    chat=ChatRules(call_id=IdentifierRule(40, characters=r"\x21-\x7e"), takes_audio=True, takes_functions=True),
    messages=MessageRules(
        fields=frozenset({"refusal", "audio", "function_call"}),
        named_roles=_NAMED | {"function"},
        # Source: the API's error "Expected a string that matches the pattern '^[^\\s<|\\\\/>]+$'".
        name=re.compile(r"[^\s<|\\/>]{1,64}"),
        joins_text=False,
    ),
    efforts=frozenset({"none", "minimal", "low", "medium", "high", "xhigh"}),
    user_id_characters=64,
    image_types=_IMAGES,
    strict_schemas=True,
    by_model=openai_differences,
)
"""Source: the OpenAI API reference, "Create chat completion", and the API's errors ("string too long. Expected a string
with maximum length 40" for `tool_calls[].id`, and 64 for `user`)."""

OPENAI = CompatibleProvider("openai", chat=_OPENAI_CHAT, embeddings=EmbeddingCapabilities())
AZURE = CompatibleProvider(
    "azure", auth=HeaderAuth("api-key", ""), url=azure_url, chat=_OPENAI_CHAT, embeddings=EmbeddingCapabilities()
)
OPENROUTER = CompatibleProvider(
    "openrouter",
    chat=ChatCapabilities(
        chat=ChatRules(call_id=IdentifierRule(40), takes_cache_control=True),
        messages=MessageRules(
            closed=False,
            fields=frozenset({"annotations", "refusal"}),
            reasoning=ReasoningForm.DETAILS,
            joins_text=False,
            media_roles=None,
        ),
        user_id_characters=128,
    ),
    embeddings=EmbeddingCapabilities(),
    extras=frozenset({"provider", "models", "route", "transforms", "plugins", "preset"}),
    # Sources: OpenRouter's pages "Model Routing" (`models`) and "Presets" (`preset`).
    name_models=frozenset({"models", "preset"}),
    field_headers=MappingProxyType({"site_url": "http-referer", "site_name": "x-title"}),
)
XAI = CompatibleProvider(
    "xai",
    chat=ChatCapabilities(
        refused=_AUDIO_OUT | {"logit_bias"},
        refused_parts=_AUDIO_IN,
        chat=replace(HOSTED, needs_parameters=True),
        # Source: the API's error "Each message must have at least one content element".
        messages=MessageRules(
            named_roles=frozenset({"user"}), reasoning=ReasoningForm.CONTENT, joins_text=True, needs_text=True
        ),
        efforts=frozenset({"low", "medium", "high"}),
        image_types=frozenset({"image/png", "image/jpeg", "image/jpg"}),
        by_model=xai_differences,
    ),
    extras=frozenset({"search_parameters", "deferred"}),
)
GROQ = CompatibleProvider(
    "groq",
    chat=ChatCapabilities(
        refused=_AUDIO_OUT
        | _OPENAI_ONLY
        | {
            "n", "logit_bias", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty", "store", "metadata",
            "prompt_cache_key",
        },
        refused_parts=_AUDIO_IN | {"file"},
        # Source: Groq's page on OpenAI compatibility: `messages[].name` is an error 400.
        messages=MessageRules(
            reasoning=ReasoningForm.PLAIN,
            reasoning_models=re.compile(r"gpt-oss|qwen-?3|qwq|deepseek-r1"),
        ),
        efforts=frozenset({"none", "default", "low", "medium", "high"}),
        strict_schemas=True,
        by_model=groq_differences,
    ),
    extras=frozenset({"compound_custom", "search_settings", "citation_options", "disable_tool_validation"}),
)  # fmt: skip
TOGETHER = CompatibleProvider(
    "together",
    chat=ChatCapabilities(
        refused=_AUDIO_OUT | _OPENAI_ACCOUNT | _OPENAI_ONLY | {"parallel_tool_calls"},
        renames=_OLD_LIMIT,
        refused_parts=frozenset({"file"}),
        developer_role=False,
        logprobs_as_count=True,
        messages=MessageRules(named_roles=_NAMED, reasoning=ReasoningForm.PLAIN),
    ),
    embeddings=EmbeddingCapabilities(refused=frozenset({"dimensions"}), token_input=False, encoding_format=False),
    extras=frozenset({"safety_model"}),
)
FIREWORKS = CompatibleProvider(
    "fireworks",
    chat=ChatCapabilities(
        refused=_AUDIO_OUT
        | {"store", "verbosity", "web_search_options", "safety_identifier", "prompt_cache_retention"},
        renames=_OLD_LIMIT,
        refused_parts=_AUDIO_IN | {"file"},
        developer_role=False,
        messages=MessageRules(named_roles=_NAMED, reasoning=ReasoningForm.CONTENT),
    ),
    embeddings=EmbeddingCapabilities(encoding_format=False),
)
DEEPINFRA = CompatibleProvider(
    "deepinfra",
    chat=ChatCapabilities(
        refused=_AUDIO_OUT | {"logit_bias"},
        renames=_OLD_LIMIT,
        refused_parts=_AUDIO_IN | {"file"},
        developer_role=False,
        messages=MessageRules(named_roles=_NAMED, reasoning=ReasoningForm.CONTENT),
        stops=StopRules(most=16),
    ),
    embeddings=EmbeddingCapabilities(token_input=False, encoding_format=False),
)
MISTRAL = CompatibleProvider(
    "mistral",
    chat=ChatCapabilities(
        # Its schema is closed: an unknown parameter is an error 422.
        refused=_AUDIO_OUT | _OPENAI_ACCOUNT
        | {
            "logit_bias", "logprobs", "top_logprobs", "user", "verbosity", "web_search_options", "safety_identifier",
            "prompt_cache_key", "prompt_cache_retention", "functions", "function_call",
        },
        renames=MappingProxyType({**_OLD_LIMIT, "seed": "random_seed"}),
        refused_parts=frozenset({"file"}),
        developer_role=False,
        audio_as_text=True,
        stream_usage=StreamUsage.ALWAYS,
        # Source: the API's error 3280, "Tool call id must be a-z, A-Z, 0-9, with a length of 9".
        chat=ChatRules(call_id=IdentifierRule(9, exact=True), needs_parameters=True, takes_thinking_parts=True),
        # Sources: Mistral's API reference (`prefix`, `name` of tool messages only) and mistral-common's validation of the
        # order of roles ("Expected last role User or Tool (or Assistant with prefix True)", "Unexpected role 'user' after
        # role 'tool'").
        messages=MessageRules(
            fields=frozenset({"prefix"}),
            named_roles=frozenset({"tool"}),
            reasoning=ReasoningForm.CHUNKS,
            reasoning_models=re.compile("magistral"),
            system_first=True,
            assistant_after_tools=True,
            marks_prefix=True,
        ),
        stops=StopRules(),
        ranges=MappingProxyType({"temperature": (0, 1.5), "seed": (0, 2**63 - 1)}),
        by_model=mistral_differences,
    ),
    embeddings=EmbeddingCapabilities(
        refused=frozenset({"user"}),
        renames=MappingProxyType({"dimensions": "output_dimension"}),
        token_input=False,
    ),
    extras=frozenset({"safe_prompt", "prompt_mode", "guardrails"}),
)  # fmt: skip
DEEPSEEK = CompatibleProvider(
    "deepseek",
    chat=ChatCapabilities(
        refused=_AUDIO_OUT
        | _OPENAI_ACCOUNT
        | _OPENAI_ONLY
        | {"n", "seed", "logit_bias", "parallel_tool_calls", "metadata"},
        renames=_OLD_LIMIT,
        refused_parts=frozenset({"image_url", "input_audio", "file"}),
        response_formats=frozenset({"text", "json_object"}),
        developer_role=False,
        # Source: the guide to thinking mode: turns that call tools have to hold their `reasoning_content`, others need none.
        messages=MessageRules(
            fields=frozenset({"prefix"}),
            named_roles=_NAMED,
            reasoning=ReasoningForm.CONTENT,
            reasoning_in_tool_turns=True,
        ),
        stops=StopRules(most=16),
        by_model=deepseek_differences,
    ),
)
PERPLEXITY = CompatibleProvider(
    "perplexity",
    chat=ChatCapabilities(
        refused=_AUDIO_OUT | _OPENAI_ACCOUNT
        | {
            "n", "seed", "stop", "logit_bias", "logprobs", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls",
            "functions", "function_call", "metadata", "prediction",
        },
        renames=_OLD_LIMIT,
        refused_parts=_AUDIO_IN | {"file"},
        response_formats=frozenset({"text", "json_schema", "regex"}),
        developer_role=False,
        stream_usage=StreamUsage.ALWAYS,
        # Source: the API's error "After the (optional) system message(s), user and assistant roles should be alternating".
        messages=MessageRules(needs_text=True, system_first=True, alternates=True),
        ranges=MappingProxyType({"temperature": (0, 1.99)}),
        efforts=frozenset({"minimal", "low", "medium", "high"}),
    ),
    extras=frozenset(
        {
            "search_mode", "search_domain_filter", "search_recency_filter", "search_after_date_filter",
            "search_before_date_filter", "last_updated_after_filter", "last_updated_before_filter", "return_images",
            "return_related_questions", "disable_search", "enable_search_classifier", "media_response",
        }
    ),
)  # fmt: skip
HUGGINGFACE = CompatibleProvider(
    "huggingface",
    chat=ChatCapabilities(
        refused=_AUDIO_OUT, renames=_OLD_LIMIT, developer_role=False, messages=MessageRules(named_roles=_NAMED)
    ),
)
VLLM = CompatibleProvider(
    "vllm",
    chat=ChatCapabilities(developer_role=False, chat=AS_IS, messages=OPEN, stops=StopRules()),
    embeddings=EmbeddingCapabilities(),
)
OLLAMA = CompatibleProvider(
    "ollama",
    chat=ChatCapabilities(
        refused=_AUDIO_OUT | {"n", "logit_bias", "tool_choice", "parallel_tool_calls"},
        renames=_OLD_LIMIT,
        refused_parts=_AUDIO_IN | {"file"},
        image_links=False,
        developer_role=False,
        chat=AS_IS,
        messages=OPEN,
        stops=StopRules(),
    ),
    embeddings=EmbeddingCapabilities(),
)
LLAMACPP = CompatibleProvider(
    "llamacpp",
    chat=ChatCapabilities(
        refused=_AUDIO_OUT,
        renames=_OLD_LIMIT,
        refused_parts=frozenset({"file"}),
        developer_role=False,
        chat=AS_IS,
        messages=OPEN,
        stops=StopRules(),
    ),
    embeddings=EmbeddingCapabilities(refused=frozenset({"dimensions"})),
)
CUSTOM = CompatibleProvider(
    "custom",
    chat=ChatCapabilities(chat=AS_IS, messages=OPEN, stops=StopRules()),
    embeddings=EmbeddingCapabilities(),
    takes_any_extra=True,
)
"""An endpoint that a tenant registered: anything OpenAI-compatible."""
ADDED = CompatibleProvider(
    "added", chat=ChatCapabilities(chat=AS_IS, messages=OPEN, stops=StopRules()), embeddings=EmbeddingCapabilities()
)
"""A provider that the operator added, of which nothing more is known: other providers' own parameters are not sent to it."""

COMPATIBLE_PROVIDERS = (
    OPENAI, AZURE, OPENROUTER, XAI, GROQ, TOGETHER, FIREWORKS, DEEPINFRA, MISTRAL, DEEPSEEK, PERPLEXITY, HUGGINGFACE, VLLM,
    OLLAMA, LLAMACPP, CUSTOM,
)  # fmt: skip


def foreign_extras(
    provider: CompatibleProvider, providers: tuple[CompatibleProvider, ...] = COMPATIBLE_PROVIDERS
) -> frozenset[str]:
    """Return the other providers' own parameters, which are not sent to `provider`."""
    if provider.takes_any_extra:
        return frozenset()
    return frozenset[str]().union(*(row.extras for row in providers)) - provider.extras
