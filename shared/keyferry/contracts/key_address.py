"""The address at which a provider key is used, derived alike by the client that seals the key and by the vault.

A key is sealed for its origin, so both sides have to derive the same one. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from keyferry.contracts.origin import STANDARD_PORTS, ForbiddenUrl, cached_origin, check_url
from keyferry.contracts.providers import PROVIDERS, ProviderFacts

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class UnusableAddress(ValueError):
    """No address can be derived. The message can be shown to the user and says what to provide."""


@dataclass(frozen=True, slots=True)
class KeyAddress:
    """`base_url` without a slash at its end, and its `origin` as `scheme://host[:port]`."""

    base_url: str
    origin: str


def key_address(
    provider: str,
    base_url: str | None,
    fields: Mapping[str, str],
    *,
    operator_urls: Mapping[str, str],
    private_networks: bool,
) -> KeyAddress:
    """Return the address at which a key of `provider` is used. Raises UnusableAddress.

    `base_url` takes precedence over `operator_urls` (provider -> the company gateway that replaces it), and these over the
    provider's own address. `private_networks` means that the operator allows some: only then do plain http and unusual ports
    pass.
    """
    facts = _find_provider(provider)
    _check_fields(facts, fields)
    text = base_url or operator_urls.get(provider) or _default_url(facts, fields)
    if "?" in text or "#" in text:
        raise UnusableAddress("the base URL must end with its path: no '?' and no '#'")
    if text.rstrip("/").endswith("/chat/completions"):
        raise UnusableAddress("give the base URL without /chat/completions, which is added for each call")
    try:
        origin = check_url(text, allow_plain_http=private_networks, ports=None if private_networks else STANDARD_PORTS)
    except ForbiddenUrl as error:
        raise UnusableAddress(f"the base URL cannot be used: {error.reason}") from None
    return KeyAddress(text.rstrip("/"), str(origin))


def is_standard_origin(provider: str, origin: str | None) -> bool:
    """Return whether `origin` is the provider's own in one of its regions, and not an address that somebody chose for a key.

    The built-in echo has none, and is its own.
    """
    facts = PROVIDERS.get(provider)
    if facts is None or facts.base_url is None or origin is None:
        return origin is None
    return any(_origin_pattern(url).fullmatch(origin) for url in (facts.base_url, *dict(facts.places).values()))


def is_default_address(provider: str, base_url: str | None, fields: Mapping[str, str]) -> bool:
    """Return whether calls with a key of these fields go to the provider's own address for them, and not to a chosen one.

    What a provider says about its regions holds for its own addresses only.
    """
    facts = PROVIDERS.get(provider)
    if facts is None or facts.base_url is None or base_url is None:
        return False
    try:
        own = _default_url(facts, fields)
    except KeyError:
        return False
    return cached_origin(own) == cached_origin(base_url)


@lru_cache(maxsize=4096)
def _origin_pattern(template: str) -> re.Pattern[str]:
    origin = "/".join(template.split("/")[:3])
    return re.compile("[a-z0-9-]+".join(map(re.escape, _PLACEHOLDER.split(origin)[::2])), re.ASCII)


def _find_provider(provider: str) -> ProviderFacts:
    facts = PROVIDERS.get(provider)
    if facts is None:
        raise UnusableAddress(
            f"there is no provider of that name; known are {', '.join(PROVIDERS)}. For any other OpenAI-compatible"
            " endpoint use custom and give its base URL"
        )
    if (reason := PROVIDERS.retirement(provider)) is not None:
        raise UnusableAddress(f"{reason}; choose another provider")
    return facts


def _check_fields(facts: ProviderFacts, fields: Mapping[str, str]) -> None:
    known = {field.name: field for field in facts.fields}
    if unknown := sorted(fields.keys() - known.keys()):
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise UnusableAddress(f"{facts.title} has no field {', '.join(unknown)}: {takes}")
    for field in facts.fields:
        value = fields.get(field.name)
        if value is None and field.required:
            raise UnusableAddress(
                f"a key of {facts.title} needs {field.name}: {field.detail}, such as {field.name}={field.example}"
            )
        if value is not None and re.fullmatch(field.pattern, value, re.ASCII) is None:
            raise UnusableAddress(f"{field.name} is {field.detail}, such as {field.example}")


def _default_url(facts: ProviderFacts, fields: Mapping[str, str]) -> str:
    if facts.base_url is None:
        raise UnusableAddress(f"{facts.title} has no address of its own: give a base URL such as {_example(facts)}")
    template = dict(facts.places).get(fields.get("location", ""), facts.base_url)
    return _PLACEHOLDER.sub(lambda match: fields[match[1]], template)


def _example(facts: ProviderFacts) -> str:
    return {
        "azure": "https://RESOURCE.openai.azure.com",
        "ollama": "http://localhost:11434/v1",
    }.get(facts.name, "https://llm.example.com/v1")
