"""`GET /v1/models`: which router query a URL query becomes, and what the response contains."""

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
from keyferry.runtime.http.problem import HttpProblem
from services.ingress.dialects import model_list

TOKEN = ClientToken(
    token_id="tok_1",
    tenant="acme",
    label="app",
    last4="abcd",
    allowed_models=["gpt-4o"],
    team="support",
    member="alice",
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


def parse(query: str) -> dict[str, Any]:
    fields = model_list.build_query(TOKEN, query)
    assert (fields.tenant, fields.client_token_id, fields.allowed_models) == ("acme", "tok_1", ["gpt-4o"])
    assert (fields.team, fields.member) == ("support", "alice")
    caller = {"tenant", "client_token_id", "allowed_models", "team", "member"}
    return fields.model_dump(exclude_none=True, exclude=caller)


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
def test_url_query_becomes_a_router_query(query: str, expected: dict[str, Any]) -> None:
    assert parse(query) == expected


@pytest.mark.parametrize(
    ("query", "param", "expected"),
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
def test_invalid_query_is_rejected_with_the_valid_values(query: str, param: str, expected: str) -> None:
    with pytest.raises(HttpProblem) as raised:
        model_list.build_query(TOKEN, query)
    assert (raised.value.status, raised.value.param) == (400, param)
    assert expected in raised.value.message


def test_client_token_cannot_query_another_tenant() -> None:
    assert model_list.build_query(TOKEN, "tenant=other&allowed_models=x&team=other&member=bob") == ListModels(
        tenant="acme", client_token_id="tok_1", allowed_models=["gpt-4o"], team="support", member="alice"
    )


def test_sdks_parse_the_list_and_catalog_data_is_added() -> None:
    body = json.loads(model_list.render_list(Models(models=[GPT, OWN])))
    assert body["object"] == "list"
    first, second = (OpenAiModel.model_validate(entry) for entry in body["data"])
    assert (first.id, first.owned_by, second.owned_by) == ("gpt-4o", "OpenAI", "lab")
    known = body["data"][0]["keyferry"]
    assert (known["context_tokens"], known["key_sources"], known["tier"]) == (128_000, ["byok"], "professional")
    assert "max_output_tokens" not in known
    assert known["prices"] == {"input_usd": "2.5", "output_usd": "10", "price_version": "v1"}
    assert "prices" not in body["data"][1]["keyferry"]


def test_model_id_may_contain_slashes() -> None:
    models = Models(models=[GPT, OWN])
    assert json.loads(model_list.render_model(models, "org/llama"))["id"] == "org/llama"
    with pytest.raises(HttpProblem) as raised:
        model_list.render_model(models, "llama")
    assert raised.value.status == 404
