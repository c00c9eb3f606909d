"""The address of a key is derived from provider, URL and fields, or the error says what is missing."""

from collections.abc import Mapping

import pytest

from keyferry.contracts.key_address import KeyAddress, UnusableAddress, key_address
from keyferry.contracts.providers import PROVIDERS
from services.provider_worker.adapters.registry import adapter_for
from tests.support.providers.attempt_runs import attempt_run


def address(
    provider: str,
    base_url: str | None = None,
    fields: Mapping[str, str] | None = None,
    operator_urls: Mapping[str, str] | None = None,
    private_networks: bool = False,
) -> KeyAddress:
    return key_address(
        provider, base_url, fields or {}, operator_urls=operator_urls or {}, private_networks=private_networks
    )


def test_every_provider_has_an_address_or_requires_one() -> None:
    for facts in PROVIDERS.values():
        fields = {field.name: field.example for field in facts.fields}
        given = None if facts.base_url else "https://llm.example.com/v1"
        found = address(facts.name, given, fields)
        assert found.base_url.startswith(found.origin)
        assert "{" not in found.base_url


def test_fields_are_part_of_the_address() -> None:
    found = address("bedrock", fields={"region": "eu-central-1"})
    assert found.origin == "https://bedrock-runtime.eu-central-1.amazonaws.com"


def test_the_given_url_overrides_the_operators_and_that_the_providers() -> None:
    gateway = {"openai": "https://gateway.example.com/openai/v1"}
    assert address("openai", operator_urls=gateway).origin == "https://gateway.example.com"
    own = address("openai", "https://eu.api.openai.com/v1/", operator_urls=gateway)
    assert own == KeyAddress("https://eu.api.openai.com/v1", "https://eu.api.openai.com")


def test_plain_http_requires_networks_that_the_operator_allows() -> None:
    with pytest.raises(UnusableAddress, match="http:// is only for networks that the operator allows"):
        address("ollama", "http://10.0.0.7:11434/v1")
    found = address("ollama", "http://10.0.0.7:11434/v1", private_networks=True)
    assert found.origin == "http://10.0.0.7:11434"


@pytest.mark.parametrize(
    ("provider", "base_url", "fields", "says"),
    [
        ("chatgpt", None, {}, "no provider of that name; known are openai, anthropic"),
        ("azure", None, {}, "give a base URL such as https://RESOURCE.openai.azure.com"),
        ("custom", None, {}, "give a base URL"),
        ("bedrock", None, {}, "needs region: the AWS region that is called, such as region=eu-central-1"),
        ("bedrock", None, {"region": "evil.example/"}, "region is the AWS region"),
        ("bedrock", None, {"region": "eu-central-1", "zone": "a"}, "has no field zone: it takes region"),
        ("openai", None, {"region": "x"}, "it takes none"),
        ("custom", "https://me:pw@llm.example.com/v1", {}, "without user name, password"),
        ("custom", "https://llm.example.com/v1?key=1", {}, "no '\\?'"),
        ("custom", "https://llm.example.com/v1#x", {}, "no '#'"),
        ("custom", "https://llm.example.com/v1/chat/completions", {}, "without /chat/completions"),
        ("custom", "https://llm.example.com:8080/v1", {}, "port 8080"),
        ("custom", "https://0x7f.1/v1", {}, "not an IP address in its usual form"),
        ("custom", "llm.example.com", {}, "https://host/path"),
    ],
)
def test_the_error_names_what_is_missing(
    provider: str, base_url: str | None, fields: dict[str, str], says: str
) -> None:
    with pytest.raises(UnusableAddress, match=says):
        address(provider, base_url, fields)


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_a_vertex_key_has_the_address_that_the_adapter_calls(location: str, host: str) -> None:
    fields = {"project": "my-project-1", "location": location}
    found = address("vertex", fields=fields)
    assert found.origin == f"https://{host}"
    for base_url in (None, found.base_url):
        run = attempt_run(base_url=base_url).model_copy(update={"provider": "vertex", "key_fields": fields})
        called = adapter_for("vertex").request(run, b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}')
        assert called.url.startswith(f"{found.base_url}/models/")
