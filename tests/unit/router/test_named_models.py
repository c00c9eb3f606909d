"""Models that people ask for by name: each resolves, says where it is in the European Union, and has a price."""

import pytest

from keyferry.contracts.catalog import Capability
from services.router.planning.list_prices import covers
from tests.support.router.keys_and_prices import catalog, list_price

NAMED = {
    "GPT-5": ("gpt-5", set()),
    "GPT-5 mini": ("gpt-5-mini", set()),
    "GPT-5 Codex": ("gpt-5-codex", set()),
    "Mistral Large": ("mistral-large", {"mistral"}),
    "Mistral Medium 3.1": ("mistral-medium-3.1", {"mistral"}),
    "Llama 4 Scout": ("llama-4-scout", set()),
    "Gemini 2.5 Flash": ("gemini-2.5-flash", {"vertex"}),
    "Gemini 2.5 Flash-Lite": ("gemini-2.5-flash-lite", {"vertex"}),
    "DeepSeek V3.1": ("deepseek-v3.1", set()),
    "DeepSeek V3.1 Terminus": ("deepseek-v3.1-terminus", set()),
    "Qwen3 Max": ("qwen3-max", set()),
    "Qwen3 Coder Plus": ("qwen3-coder-plus", set()),
    "Grok 4 Fast": ("grok-4-fast", set()),
    "Grok Code Fast 1": ("grok-code-fast-1", set()),
    "Command A": ("command-a", set()),
    "Claude Sonnet 4.5": ("claude-sonnet-4-5", {"bedrock"}),
}
"""Title -> the catalog's name, and the providers with an offering that stays inside the European Union."""


@pytest.mark.parametrize("title", NAMED)
def test_a_named_model_resolves_with_offerings_residency_and_prices(title: str) -> None:
    name, eu = NAMED[title]
    resolved = catalog().resolve(name)
    assert resolved.model is not None
    assert resolved.model.title.casefold() == title.casefold()
    assert resolved.offerings
    assert {offering.provider for offering in resolved.offerings if offering.eu} == eu
    priced = [
        offering
        for offering in resolved.offerings
        if covers(list_price(offering.provider, offering.upstream), embeds=False)
    ]
    assert priced, "the platform's keys pay for none of its offerings"


@pytest.mark.parametrize("title", NAMED)
def test_openrouter_is_never_taken_for_the_european_union(title: str) -> None:
    """Where OpenRouter has a request answered is its own choice unless the request pins it."""
    offerings = catalog().resolve(NAMED[title][0]).offerings
    assert not any(offering.eu for offering in offerings if offering.provider == "openrouter")


def test_claude_sonnet_is_the_default_for_chats() -> None:
    default = catalog().default(Capability.CHAT)
    assert default is not None
    assert default.title == "Claude Sonnet 4.5"


def test_the_router_of_openrouter_is_a_model_and_auto_is_not() -> None:
    """`auto` is the gateway's own choice; what OpenRouter chooses has to be asked for by its full name."""
    found = catalog().resolve("openrouter/auto")
    assert [(offering.provider, offering.upstream) for offering in found.offerings] == [
        ("openrouter", "openrouter/auto")
    ]
    for virtual in ("auto", "eco", "balanced", "precision", "default"):
        assert catalog().resolve(virtual).model is None
        assert catalog().resolve(virtual).offerings == ()
