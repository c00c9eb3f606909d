"""The list of models over HTTP: what the query asks of the router, and what SDKs and people read in the answer."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from openai.types import Model as OpenAiModel

from keyferry.contracts.catalog import Capability, ModelClass, ModelSort
from keyferry.contracts.route import ListModels, Model, ModelPrices, Models
from keyferry.contracts.tenancy import ClientToken, Tier
from keyferry.contracts.usage import KeySource
from services.ingress.dialects import model_list
from services.ingress.problem import Problem

TOKEN = ClientToken(
    token_id="tok_1",
    tenant="acme",
    label="app",
    last4="abcd",
    allowed_models=["gpt-4o"],
    created_at=datetime(2026, 11, 1, tzinfo=UTC),
)
GPT = Model(
    id="gpt-4o",
    provider="openai",
    key_source=KeySource.BYOK,
    providers=["openai"],
    key_sources=[KeySource.BYOK],
    maker="OpenAI",
    context_tokens=128_000,
    capabilities=[Capability.CHAT],
    tier=Tier.PROFESSIONAL,
    prices=ModelPrices(input_usd=Decimal("2.50"), output_usd=Decimal(10), price_version="v1"),
)
OWN = Model(id="org/llama", provider="custom", endpoint="lab", key_source=KeySource.CUSTOM)


def asked(query: str) -> dict[str, Any]:
    question = model_list.question(TOKEN, query)
    assert (question.tenant, question.allowed_models) == ("acme", ["gpt-4o"])
    return question.model_dump(exclude_none=True, exclude={"tenant", "allowed_models"})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("limit=20&after_id=x", {}),
        ("filter=eu", {"eu": True}),
        ("filter=recommended", {"recommended": "any"}),
        ("filter=recommended:email_generation", {"recommended": "email_generation"}),
        ("filter=eu,provider:bedrock", {"eu": True, "provider": "bedrock"}),
        ("filter=eu&filter=provider%3Abedrock", {"eu": True, "provider": "bedrock"}),
        ("tier=free", {"tier": Tier.FREE}),
        ("class=budget", {"model_class": ModelClass.BUDGET}),
        ("capability=vision", {"capability": Capability.VISION}),
        ("available=true", {}),
        ("available=all", {"unavailable": True}),
        ("approved=all", {"unapproved": True}),
        ("sort=context", {"sort": ModelSort.CONTEXT}),
        ("sort=cost", {"sort": ModelSort.COST}),
    ],
)
def test_the_query_becomes_a_question(query: str, expected: dict[str, Any]) -> None:
    assert asked(query) == expected


@pytest.mark.parametrize(
    ("query", "param", "says"),
    [
        ("filter=us", "filter", "provider:<name>"),
        ("filter=provider", "filter", "provider:<name>"),
        ("filter=", "filter", "eu, recommended"),
        ("tier=gold", "tier", "free, starter"),
        ("class=", "class", "flagship"),
        ("capability=smell", "capability", "vision"),
        ("available=no", "available", "true"),
        ("sort=price", "sort", "popularity"),
    ],
)
def test_a_wrong_query_says_what_there_is(query: str, param: str, says: str) -> None:
    with pytest.raises(Problem) as refused:
        model_list.question(TOKEN, query)
    assert (refused.value.status, refused.value.param) == (400, param)
    assert says in refused.value.message


def test_a_client_token_cannot_ask_for_another_tenant() -> None:
    assert model_list.question(TOKEN, "tenant=other&allowed_models=x") == ListModels(
        tenant="acme", allowed_models=["gpt-4o"]
    )


def test_sdks_read_it_and_what_is_known_stands_beside() -> None:
    body = json.loads(model_list.listed(Models(models=[GPT, OWN])))
    assert body["object"] == "list"
    first, second = (OpenAiModel.model_validate(entry) for entry in body["data"])
    assert (first.id, first.owned_by, second.owned_by) == ("gpt-4o", "OpenAI", "lab")
    known = body["data"][0]["keyferry"]
    assert (known["context_tokens"], known["key_sources"], known["tier"]) == (128_000, ["byok"], "professional")
    assert "max_output_tokens" not in known
    assert known["prices"] == {"input_usd": "2.5", "output_usd": "10", "price_version": "v1"}
    assert "prices" not in body["data"][1]["keyferry"]


def test_one_model_by_its_name_with_slashes() -> None:
    models = Models(models=[GPT, OWN])
    assert json.loads(model_list.one(models, "org/llama"))["id"] == "org/llama"
    with pytest.raises(Problem) as refused:
        model_list.one(models, "llama")
    assert refused.value.status == 404
