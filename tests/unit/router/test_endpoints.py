"""Validation of endpoints."""

import pytest
from pydantic import ValidationError

from keyferry.contracts.route import SaveEndpoint
from services.router.endpoints.validation import EndpointIndex, InvalidEndpoint, validate_endpoint


def resolved(base_url: str, name: str = "lab") -> SaveEndpoint:
    return SaveEndpoint(tenant="acme", name=name, base_url=base_url, models=["a", "b", "a"])


def test_a_trailing_slash_and_repeated_models_are_removed() -> None:
    saved = validate_endpoint(resolved("https://llm.example/v1/"))
    assert saved.base_url == "https://llm.example/v1"
    assert saved.models == ["a", "b"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://llm.example/v1", "https://"),
        ("https:///v1", "name a host"),
        ("https://user:secret@llm.example/v1", "user name or password"),
        ("https://secret@llm.example/v1", "user name or password"),
        ("https://:secret@llm.example/v1", "user name or password"),
        ("https://llm.example/v1?key=secret", "'?'"),
        ("https://llm.example/v1#part", "'#'"),
        ("https://llm.example/v1?", "'?'"),
        ("https://llm.example:0/v1", "port 0"),
        ("https://llm.example:99999/v1", "cannot be read"),
        ("https://llm.example/ v1", "space"),
        ("https://llm.example/v1/chat/completions", "without /chat/completions"),
        ("https://[::1/v1", "cannot be read"),
    ],
)
def test_an_invalid_url_is_rejected_with_a_remedy_and_without_its_secrets(url: str, message: str) -> None:
    with pytest.raises(InvalidEndpoint, match=message.replace("?", r"\?")) as refused:
        validate_endpoint(resolved(url))
    assert "secret" not in str(refused.value)


def test_a_url_with_a_line_break_is_refused_by_the_contract() -> None:
    with pytest.raises(ValidationError, match="without control characters"):
        resolved("https://llm.example/v1\r\nHost: evil")


def test_a_tenant_has_its_own_endpoints_alone() -> None:
    index = EndpointIndex()
    own, others = (
        validate_endpoint(resolved("https://llm.example/v1").model_copy(update={"tenant": tenant}))
        for tenant in ("acme", "other")
    )
    index.rebuild([own, others])
    assert (index.of("acme"), index.of("other"), index.of("third")) == ([own], [others], [])
    index.rebuild([others])
    assert index.of("acme") == []
    index.replace("acme", [own, others])
    assert (index.of("acme"), index.of("other")) == ([own], [others])
    index.replace("acme", [])
    assert index.of("acme") == []


def test_reserved_names_are_rejected() -> None:
    with pytest.raises(InvalidEndpoint, match="echo"):
        validate_endpoint(resolved("https://llm.example/v1", name="echo"))


def test_a_providers_name_is_rejected_but_not_a_self_hosted_servers() -> None:
    with pytest.raises(InvalidEndpoint, match="openai"):
        validate_endpoint(resolved("https://llm.example/v1", name="openai"))
    assert validate_endpoint(resolved("https://llm.example/v1", name="ollama")).name == "ollama"
