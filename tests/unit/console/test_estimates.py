"""Estimates over HTTP: what is measured of a request, and what is refused."""

from decimal import Decimal

import pytest

from keyferry.contracts.chat import OwnKeys
from keyferry.contracts.estimates import CostEstimate, EstimateCost, EstimatedChoice, EstimatedCost
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.routing_management import COST_ESTIMATE
from keyferry.contracts.usage import KeySource, RequestKind
from tests.unit.console.surface import AUTHORIZED, Surface, error

BOTH = pytest.mark.parametrize(("base", "tenant"), [("/api/v1", "platform"), ("/api/v1/ops/tenants/acme", "acme")])
COST = EstimatedCost(
    key_source=KeySource.PLATFORM,
    low_cost_usd=Decimal("0.00045"),
    high_cost_usd=Decimal("0.00085"),
    low_charge_micro_usd=81,
    high_charge_micro_usd=153,
    low_credits=Decimal("0.081"),
    high_credits=Decimal("0.153"),
)
FOUND = CostEstimate(
    tenant="acme",
    model_asked="gpt-5-mini",
    input_tokens=1000,
    plan_version="v1",
    named=EstimatedChoice(level=PowerLevel.ECO, model="gpt-5-mini", detail="asked for", costs=[COST]),
    levels=[EstimatedChoice(level=PowerLevel.PRECISION, detail="no model is good enough")],
)


def surface() -> Surface:
    made = Surface()
    made.bus.answers(COST_ESTIMATE, FOUND)
    return made


def asked(made: Surface) -> EstimateCost:
    (question,) = [message for name, message in made.bus.asked if name == COST_ESTIMATE.name]
    assert isinstance(question, EstimateCost)
    return question


@BOTH
async def test_a_model_and_tokens_are_estimated(base: str, tenant: str) -> None:
    made, own_keys = surface(), "first"
    body = {
        "model": "gpt-5-mini",
        "input_tokens": 1000,
        "max_output_tokens": 50,
        "power_level": "eco",
        "prefer_own_keys": own_keys,
        "operation": "research",
        "team": "blue",
        "member": "ann",
    }
    answer = await made.ask("POST", f"{base}/estimates", json=body)
    assert answer.status_code == 200
    assert answer.json()["named"]["costs"][0] == {
        "key_source": "platform",
        "low_cost_usd": "0.00045",
        "high_cost_usd": "0.00085",
        "low_charge_micro_usd": 81,
        "high_charge_micro_usd": 153,
        "low_credits": "0.081",
        "high_credits": "0.153",
    }
    features = RequestFeatures(input_tokens=1000, max_output_tokens=50)
    preferred: OwnKeys = "first"
    assert asked(made) == EstimateCost(
        tenant=tenant,
        model="gpt-5-mini",
        features=features,
        power_level=PowerLevel.ECO,
        prefer_own_keys=preferred,
        operation="research",
        team="blue",
        member="ann",
    )


async def test_a_request_is_measured_and_stays_here() -> None:
    made = surface()
    request = {"model": "auto", "messages": [{"role": "user", "content": "a secret " * 400}], "max_tokens": 7, "n": 2}
    assert (await made.ask("POST", "/api/v1/estimates", json={"request": request})).status_code == 200
    question = asked(made)
    assert (question.model, question.features.max_output_tokens, question.features.choices) == ("auto", 7, 2)
    assert 900 <= question.features.input_tokens <= 950
    assert b"secret" not in question.encode()


async def test_an_embeddings_request_is_measured_by_its_input() -> None:
    made = surface()
    request = {"model": "text-embedding-3-small", "input": [[1, 2, 3], [4, 5]]}
    await made.ask("POST", "/api/v1/estimates", json={"request": request, "kind": "embedding"})
    assert (asked(made).kind, asked(made).features.input_tokens) == (RequestKind.EMBEDDING, 5)


async def test_a_lone_surrogate_in_a_prompt_is_measured() -> None:
    made = surface()
    body = b'{"request": {"model": "auto", "messages": [{"role": "user", "content": "\\ud800"}]}}'
    answer = await made.ask(
        "POST", "/api/v1/estimates", content=body, headers=AUTHORIZED | {"content-type": "application/json"}
    )
    assert answer.status_code == 200
    assert asked(made).features.input_tokens > 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "gpt-5-mini"},
        {"input_tokens": 5},
        {"model": "gpt-5-mini", "input_tokens": -1},
        {"model": "gpt-5-mini", "input_tokens": 2**63},
        {"model": "gpt-5-mini", "input_tokens": 1.5},
        {"model": "gpt-5-mini", "input_tokens": "5"},
        {"model": "gpt-5-mini", "input_tokens": 5, "max_output_tokens": 0},
        {"model": "two words", "input_tokens": 5},
        {"model": "gpt-5-mini", "input_tokens": 5, "kind": "image"},
        {"model": "gpt-5-mini", "input_tokens": 5, "team": "\0"},
        {"model": "gpt-5-mini", "input_tokens": 5, "tokens": 5},
        {"request": []},
        {"request": {}},
        {"request": {"model": 5}},
        {"request": {"model": "x" * 300}},
        {"request": {"model": "gpt-5-mini"}, "model": "gpt-5-mini"},
        {"request": {"model": "gpt-5-mini"}, "input_tokens": 5},
    ],
)
async def test_what_cannot_be_estimated_is_refused(body: dict[str, object]) -> None:
    made = surface()
    answer = await made.ask("POST", "/api/v1/estimates", json=body)
    assert error(answer)[0] in (400, 422)
    assert COST_ESTIMATE.name not in [name for name, _ in made.bus.asked]
