"""The providers whose keys can be stored: key format, where to get a key, and the fields it needs.

One row each, for the vault, the command line, the console and the adapters' default addresses. Vendors change the form of their
keys without notice (Google's were `AIza…` and are `AQ.…`), and share prefixes (`sk-` is OpenAI's, DeepSeek's and others'), so the
form of a key is only reason for a warning: what cannot be sent as a key is refused, and the live test decides. Sources: the
providers' own documentation, linked from each row, and the forms of keys in their consoles and client libraries. Pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from keyferry.contracts.own_credentials import describe_own_credential

_PLAUSIBLE = re.compile(r"[\x21-\x7e]+", re.ASCII)
"""Characters allowed in an HTTP header without quoting: anything else is a copying error."""


@dataclass(frozen=True, slots=True)
class KeyField:
    """A non-secret value that calls with the key need."""

    name: str
    detail: str
    """A description for people."""
    example: str
    pattern: str = r"[A-Za-z0-9._-]{1,200}"
    required: bool = True


class CompatibleApi(StrEnum):
    """The implementation of the OpenAI API that an added provider has."""

    GENERIC = "generic"
    """The API as OpenAI documents it; other providers' own parameters are not sent."""
    VLLM = "vllm"
    OLLAMA = "ollama"
    LLAMACPP = "llamacpp"


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """The properties of one provider's keys."""

    name: str
    title: str
    base_url: str | None
    """Its API's base URL. A name in braces is one of `fields`; None where it is given when the key is added."""
    key_url: str
    """Where to get a key."""
    docs_url: str
    prefixes: tuple[str, ...] = ()
    """Prefixes of the keys that it issues or issued, for warnings and masking; empty where they have none in common."""
    key_description: str = "an API key"
    fields: tuple[KeyField, ...] = ()
    test_model: str | None = None
    """A cheap model that every account has, for the last step of a key test; None if there is none."""
    key_optional: bool = False
    """Whether calls work without a key."""
    places: tuple[tuple[str, str], ...] = ()
    """(location, base URL) of locations whose address does not follow from `base_url`."""
    api: CompatibleApi | None = None
    """The API of a provider that an operator added; None for those of this build."""
    eu: bool = False
    """Whether the operator who added it says that it processes all calls inside the European Union."""


_REGION = KeyField("region", "the AWS region that is called", "eu-central-1", r"[a-z]{2}(?:-[a-z]+)+-[0-9]")
_DEPLOYMENT = KeyField("deployment", "the deployment's name, if all calls go to one", "gpt-4o-prod", required=False)
_API_VERSION = KeyField(
    "api_version", "the API version, for endpoints of the older form", "2024-10-21", r"[0-9a-z.-]{1,40}", required=False
)
_PROJECT = KeyField("project", "the Google Cloud project", "my-project-1", r"[a-z0-9.:-]{1,100}")
_LOCATION = KeyField("location", "the Google Cloud location", "europe-west4", r"[a-z0-9-]{1,40}")
_SITE_URL = KeyField(
    "site_url", "your site, as it is shown to OpenRouter", "https://example.com", r"https?://[\x21-\x7e]{1,200}", False
)
_SITE_NAME = KeyField(
    "site_name", "your site's name, as it is shown to OpenRouter", "Example", r"[\x20-\x7e]{1,100}", False
)
_PROCESSED_IN = KeyField(
    "processed_in",
    "`eu` if it processes all requests inside the European Union: your own statement, which nobody checks",
    "eu",
    "eu",
    required=False,
)

_ROWS = (
    ProviderFacts(
        "openai", "OpenAI", "https://api.openai.com/v1", "https://platform.openai.com/api-keys",
        "https://platform.openai.com/docs/api-reference", ("sk-", "sk-proj-", "sk-svcacct-", "sk-admin-"),
        test_model="gpt-4o-mini",
    ),
    ProviderFacts(
        "anthropic", "Anthropic", "https://api.anthropic.com", "https://console.anthropic.com/settings/keys",
        "https://docs.anthropic.com/en/api", ("sk-ant-",), test_model="claude-haiku-4-5",
    ),
    ProviderFacts(
        "gemini", "Google Gemini", "https://generativelanguage.googleapis.com/v1beta", "https://aistudio.google.com/apikey",
        "https://ai.google.dev/api", ("AQ.", "AIza"), test_model="gemini-2.5-flash-lite",
    ),
    ProviderFacts(
        "vertex", "Google Vertex AI",
        "https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/publishers/google",
        "https://console.cloud.google.com/vertex-ai", "https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest",
        ("ya29.", "AQ.", "AIza"), key_description="an access token or an express-mode API key", fields=(_PROJECT, _LOCATION),
        test_model="gemini-2.5-flash-lite",
        places=tuple(
            (location, f"https://{host}/v1/projects/{{project}}/locations/{location}/publishers/google")
            for location, host in (
                ("global", "aiplatform.googleapis.com"),
                ("us", "aiplatform.us.rep.googleapis.com"),
                ("eu", "aiplatform.eu.rep.googleapis.com"),
            )
        ),
    ),
    ProviderFacts(
        "mistral", "Mistral", "https://api.mistral.ai/v1", "https://console.mistral.ai/api-keys", "https://docs.mistral.ai/api",
        test_model="mistral-small-latest",
    ),
    ProviderFacts(
        "cohere", "Cohere", "https://api.cohere.com", "https://dashboard.cohere.com/api-keys",
        "https://docs.cohere.com/reference/chat", test_model="command-r7b-12-2024",
    ),
    ProviderFacts(
        "xai", "xAI", "https://api.x.ai/v1", "https://console.x.ai", "https://docs.x.ai/docs/api-reference", ("xai-",),
        test_model="grok-3-mini",
    ),
    ProviderFacts(
        "groq", "Groq", "https://api.groq.com/openai/v1", "https://console.groq.com/keys",
        "https://console.groq.com/docs/api-reference", ("gsk_",), test_model="llama-3.1-8b-instant",
    ),
    ProviderFacts(
        "together", "Together", "https://api.together.xyz/v1", "https://api.together.xyz/settings/api-keys",
        "https://docs.together.ai/reference", ("tgp_v1_",), test_model="meta-llama/Llama-3.2-3B-Instruct-Turbo",
    ),
    ProviderFacts(
        "fireworks", "Fireworks", "https://api.fireworks.ai/inference/v1", "https://app.fireworks.ai/settings/users/api-keys",
        "https://docs.fireworks.ai/api-reference", ("fw_",),
        test_model="accounts/fireworks/models/llama-v3p1-8b-instruct",
    ),
    ProviderFacts(
        "deepinfra", "DeepInfra", "https://api.deepinfra.com/v1/openai", "https://deepinfra.com/dash/api_keys",
        "https://deepinfra.com/docs", test_model="meta-llama/Meta-Llama-3.1-8B-Instruct",
    ),
    ProviderFacts(
        "perplexity", "Perplexity", "https://api.perplexity.ai", "https://www.perplexity.ai/settings/api",
        "https://docs.perplexity.ai/api-reference", ("pplx-",), test_model="sonar",
    ),
    ProviderFacts(
        "huggingface", "Hugging Face", "https://router.huggingface.co/v1", "https://huggingface.co/settings/tokens",
        "https://huggingface.co/docs/inference-providers", ("hf_", "api_org_"), test_model="meta-llama/Llama-3.1-8B-Instruct",
    ),
    ProviderFacts(
        "openrouter", "OpenRouter", "https://openrouter.ai/api/v1", "https://openrouter.ai/settings/keys",
        "https://openrouter.ai/docs/api-reference", ("sk-or-",), fields=(_SITE_URL, _SITE_NAME), test_model="openai/gpt-4o-mini",
    ),
    ProviderFacts(
        "deepseek", "DeepSeek", "https://api.deepseek.com/v1", "https://platform.deepseek.com/api_keys",
        "https://api-docs.deepseek.com", ("sk-",), test_model="deepseek-chat",
    ),
    ProviderFacts(
        "azure", "Azure OpenAI", None, "https://portal.azure.com", "https://learn.microsoft.com/azure/ai-services/openai/reference",
        key_description="a key of the Azure OpenAI resource", fields=(_DEPLOYMENT, _API_VERSION, _PROCESSED_IN),
    ),
    ProviderFacts(
        "bedrock", "AWS Bedrock", "https://bedrock-runtime.{region}.amazonaws.com", "https://console.aws.amazon.com/bedrock",
        "https://docs.aws.amazon.com/bedrock/latest/APIReference", ("ABSK", "bedrock-api-key-", "AKIA", "ASIA"),
        key_description="a Bedrock API key, or ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]", fields=(_REGION,),
    ),
    ProviderFacts(
        "vllm", "vLLM", None, "https://docs.vllm.ai", "https://docs.vllm.ai", fields=(_PROCESSED_IN,), key_optional=True,
    ),
    ProviderFacts(
        "ollama", "Ollama", None, "https://docs.ollama.com", "https://docs.ollama.com", fields=(_PROCESSED_IN,),
        key_optional=True,
    ),
    ProviderFacts(
        "llamacpp", "llama.cpp", None, "https://github.com/ggml-org/llama.cpp", "https://github.com/ggml-org/llama.cpp",
        fields=(_PROCESSED_IN,), key_optional=True,
    ),
    ProviderFacts(
        "custom", "Any OpenAI-compatible endpoint", None, "", "", key_description="the endpoint's bearer token",
        fields=(_PROCESSED_IN,), key_optional=True,
    ),
)  # fmt: skip


class ProviderDirectory(Mapping[str, ProviderFacts]):
    """The providers by name, in display order: those of this build, then those that the operator added.

    A process that follows the view of providers installs its entries. The providers of this build never change.
    """

    def __init__(self, bundled: Iterable[ProviderFacts]) -> None:
        self.bundled: Mapping[str, ProviderFacts] = {row.name: row for row in bundled}
        self._all = dict(self.bundled)
        self._retired: Mapping[str, str] = {}

    def __getitem__(self, name: str) -> ProviderFacts:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def install(self, added: Iterable[ProviderFacts], retired: Mapping[str, str]) -> None:
        """Replace the added providers and the reasons of retired ones, by name. A name of this build stays this build's."""
        self._all = dict(self.bundled)
        for facts in added:
            self._all.setdefault(facts.name, facts)
        self._retired = dict(retired)

    def describe(self, name: str) -> ProviderFacts:
        """Return the facts about a provider; for a name that is not known (yet) no more than the name."""
        return self._all.get(name) or ProviderFacts(name, name, None, "", "")

    def retirement(self, name: str) -> str | None:
        """Return why a provider is not to be used, as a sentence to show; None unless it was retired."""
        return self._retired.get(name)


PROVIDERS = ProviderDirectory(_ROWS)
"""Provider name -> facts, in display order."""


SELF_HOSTED = frozenset({"custom", "vllm", "ollama", "llamacpp"})
"""Providers that are a tenant's own servers: only the tenant knows which models they have."""
NAMED_BY_TENANT = SELF_HOSTED | {"azure"}
"""Providers where tenants choose the model names: their own servers, and Azure's deployments."""
RESERVED_NAMES = frozenset({"echo", "platform", "keyferry", "auto", "default", "eco", "balanced", "precision"})
"""Names with another meaning as a model, or as the first part of a model's name."""


def may_name_endpoint(name: str) -> bool:
    """Return whether an endpoint may have this name: `openai/MODEL` must never reach another server than the provider's."""
    return name not in RESERVED_NAMES and (name not in PROVIDERS or name in NAMED_BY_TENANT)


class InvalidServerName(ValueError):
    """A name that no server may have. The message can be shown."""


def check_server_name(provider: str, name: str) -> None:
    """Check that the server of a key of `provider` may have this name, of the form `EndpointName`. Raises InvalidServerName."""
    if provider not in NAMED_BY_TENANT:
        takers = ", ".join(sorted(NAMED_BY_TENANT))
        raise InvalidServerName(
            f"{PROVIDERS.describe(provider).title} has one address for everybody, so its keys have no server to name: names are"
            f" for {takers}; --label distinguishes keys"
        )
    if name in PROVIDERS or name in RESERVED_NAMES:
        raise InvalidServerName(
            f"a server cannot be called {name}: as the first part of a model's name that has another meaning"
        )


class ImplausibleKey(ValueError):
    """A text that cannot be sent as a key. The message can be shown: it repeats no part of the text."""


def check_format(provider: str, text: str) -> str | None:
    """Return what is unusual about `text` as a key of `provider`, as a sentence to show, or None.

    Raises ImplausibleKey for what cannot be sent as a key at all. A warning says nothing about whether the key works: the test
    does.
    """
    facts = PROVIDERS.describe(provider)
    if not text:
        raise ImplausibleKey("the key is empty")
    if text.startswith("-----BEGIN") or (text.startswith("{") and text.endswith("}")):
        raise ImplausibleKey(
            f"this is a private key or a credentials file, not a token; give {facts.key_description}, or a token made from it"
        )
    if _PLAUSIBLE.fullmatch(text) is None:
        raise ImplausibleKey(
            "the key has spaces, line breaks or characters outside ASCII; copy it again, without quotes and line ends"
        )
    if own := describe_own_credential(text):
        raise ImplausibleKey(f"this looks like {own}, and not {facts.key_description}")
    if len(text) > MAX_KEY_CHARACTERS:
        raise ImplausibleKey(f"the key has more than {MAX_KEY_CHARACTERS} characters, which no header carries")
    if len(text) > 1 and text[0] in _QUOTES and text[-1] == text[0]:
        return "The key stands in quotes, which are sent with it."
    owners = owners_of(text)
    if provider in owners or provider in _TAKES_ANY:
        return None
    if owners:
        titles = " or ".join(PROVIDERS[name].title for name in owners)
        return f"This looks like a key of {titles}, not of {facts.title}."
    if facts.prefixes and facts.name not in _OLDER_FORMS:
        known = " or ".join(f"{prefix}…" for prefix in facts.prefixes)
        return f"Keys of {facts.title} that are known here start with {known}."
    return None


MAX_KEY_CHARACTERS = 16_384
"""More than any header may hold at the providers, temporary tokens of clouds included."""
_QUOTES = "\"'`"
_TAKES_ANY = frozenset({"custom", "azure", "vllm", "ollama", "llamacpp"})
"""Company gateways and local servers issue keys in any format, other providers' included."""
_OLDER_FORMS = frozenset({"vertex", "together", "fireworks"})
"""Providers with keys in use that have no prefix."""


def owners_of(text: str) -> tuple[str, ...]:
    """Return the providers whose prefix is the longest that `text` starts with."""
    fits = [(len(prefix), row.name) for row in PROVIDERS.values() for prefix in row.prefixes if text.startswith(prefix)]
    longest = max((length for length, _ in fits), default=0)
    return tuple(name for length, name in fits if length == longest)
