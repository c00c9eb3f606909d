"""The shipped catalog is complete, its names are unique, and an invalid file is rejected with the location of its fault."""

import pytest
from genai_prices import data

from keyferry.contracts.catalog import Capability, ModelClass, Offering
from keyferry.contracts.providers import PROVIDERS, SELF_HOSTED
from keyferry.contracts.tenancy import Tier
from services.router.catalog.lookup import ResolvedModel
from services.router.catalog.reading import InvalidCatalog, read_catalog
from tests.support.router.keys_and_prices import catalog

ONE = """
[[models]]
id = "m"
maker = "Maker"
title = "M"
description = "A model."
best_for = ["tests"]
class = "budget"
capabilities = ["chat"]
tier = "free"
offerings = [{ provider = "openai", upstream = "m-1" }]
"""


def test_it_covers_every_provider_that_has_models_of_its_own() -> None:
    chats = [model for model in catalog() if Capability.CHAT in model.capabilities]
    assert len(chats) >= 45
    assert {o.provider for model in chats for o in model.offerings} == set(PROVIDERS) - SELF_HOSTED
    assert sum(Capability.EMBEDDINGS in model.capabilities for model in catalog()) >= 8


def test_every_class_tier_and_capability_can_be_chosen() -> None:
    assert {model.model_class for model in catalog()} == set(ModelClass)
    assert {model.tier for model in catalog()} == set(Tier)
    assert {capability for model in catalog() for capability in model.capabilities} == set(Capability)
    assert any(offering.eu for model in catalog() for offering in model.offerings)
    assert sorted(model.id for model in catalog() if model.default) == ["claude-sonnet-4-5", "text-embedding-3-small"]


def test_contexts_are_not_longer_than_the_price_package_knows() -> None:
    """Where both have a figure they agree, up to the rounding to a million that vendors use."""
    theirs_by_ours = {"openai": "openai", "anthropic": "anthropic", "xai": "x-ai", "perplexity": "perplexity"}
    windows = {(source.id, model.id): model.context_window for source in data.providers for model in source.models}
    compared = 0
    for model in catalog():
        for offering in model.offerings:
            theirs = windows.get((theirs_by_ours.get(offering.provider, ""), offering.upstream))
            if theirs is not None and model.context_tokens is not None:
                compared += 1
                assert abs(model.context_tokens - theirs) <= 0.05 * theirs, model.id
    assert compared >= 20


@pytest.mark.parametrize(
    ("name", "model", "upstreams"),
    [
        ("gpt-4o", "gpt-4o", ["gpt-4o", "gpt-4o", "openai/gpt-4o"]),
        ("openai/gpt-4o", "gpt-4o", ["gpt-4o"]),
        ("openai:gpt-4o", "gpt-4o", ["gpt-4o"]),
        ("openrouter/gpt-4o", "gpt-4o", ["openai/gpt-4o"]),
        ("openrouter/openai/gpt-4o", "gpt-4o", ["openai/gpt-4o"]),
        ("openrouter:openai/gpt-4o", "gpt-4o", ["openai/gpt-4o"]),
        ("openrouter/openai/gpt-4o:free", None, ["openai/gpt-4o:free"]),
        ("openrouter/auto", "openrouter/auto", ["openrouter/auto"]),
        ("openrouter/openrouter/auto", "openrouter/auto", ["openrouter/auto"]),
        (
            "together/meta-llama/Llama-3.3-70B-Instruct-Turbo",
            "llama-3.3-70b",
            ["meta-llama/Llama-3.3-70B-Instruct-Turbo"],
        ),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5", None),
        ("anthropic/claude-sonnet-4-5-20250929", "claude-sonnet-4-5", ["claude-sonnet-4-5"]),
        (
            "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "claude-haiku-4-5",
            ["us.anthropic.claude-haiku-4-5-20251001-v1:0"],
        ),
        ("openai/gpt-99", None, ["gpt-99"]),
        ("openai/claude-sonnet-4-5", None, ["claude-sonnet-4-5"]),
        ("vllm/llama3.1:8b", None, ["llama3.1:8b"]),
        ("auto", None, []),
        ("llama3.1:8b", None, []),
        ("meta/llama", None, []),
        ("openai/", None, []),
        ("/gpt-4o", None, []),
        (":", None, []),
    ],
)
def test_names_resolve_to_their_model_and_offerings(name: str, model: str | None, upstreams: list[str] | None) -> None:
    resolved = catalog().resolve(name)
    assert resolved.name == name
    assert (resolved.model.id if resolved.model else None) == model
    if upstreams is not None:
        assert [offering.upstream for offering in resolved.offerings] == upstreams


def test_an_unknown_name_resolves_to_nothing() -> None:
    assert catalog().resolve("nothing") == ResolvedModel("nothing", None, ())


def test_a_file_is_read() -> None:
    (model,) = read_catalog({"a.toml": ONE})
    assert model.offerings == [Offering(provider="openai", upstream="m-1")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[models", "a.toml is not TOML"),
        ("", "models: this is required"),
        ("models = []", "no models"),
        (ONE.replace('"budget"', '"cheap"'), "class"),
        (ONE.replace('tier = "free"', 'tier = "free"\nprice = 1'), "price"),
        (ONE.replace('tier = "free"\n', ""), "tier"),
        (ONE.replace('["chat"]', '["chat", "embeddings"]'), "exactly one"),
        (ONE.replace('["chat"]', '["vision"]'), "exactly one"),
        (ONE.replace('["chat"]', '["chat", "chat"]'), "twice"),
        (ONE.replace('["chat"]', '["embeddings"]'), "dimensions"),
        (ONE.replace('tier = "free"', 'tier = "free"\ndimensions = 3'), "dimensions"),
        (
            ONE.replace('tier = "free"', 'tier = "free"\ncontext_tokens = 5\nmax_output_tokens = 6'),
            "exceed its context_tokens",
        ),
        (ONE.replace('"openai"', '"opnai"'), "no provider opnai"),
        (ONE + ONE, "a name belongs to one model"),
        (ONE.replace('id = "m"', 'id = "a b"'), "id"),
        (
            ONE.replace(
                'upstream = "m-1" }', 'upstream = "m-1" }, { provider = "openai", upstream = "m-2", region = "eu" }'
            ),
            "has to come after",
        ),
        (
            ONE.replace('upstream = "m-1" }', 'upstream = "m-1" }, { provider = "openai", upstream = "m-2" }'),
            "twice for the region any",
        ),
        (
            ONE.replace('tier = "free"', 'tier = "free"\ndefault = true')
            + ONE.replace('id = "m"', 'id = "n"').replace('tier = "free"', 'tier = "free"\ndefault = true'),
            "both the default",
        ),
    ],
)
def test_an_invalid_file_is_rejected_with_its_fault(text: str, message: str) -> None:
    with pytest.raises(InvalidCatalog, match=message):
        read_catalog({"a.toml": text})
