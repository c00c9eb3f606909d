"""Keys for a tenant's own servers: each server has a name, and `NAME/MODEL` reaches that server alone."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.addresses import AddressPolicy
from keyferry.contracts.chat import ChatRequest, FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import DropReason, Endpoint, ListModels, SaveEndpoint
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.runtime.bus.requests import Refused
from services.router.decide import FreshIds, decide
from services.router.handlers import ManagementHandlers
from services.router.planning.available_models import available_models
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.health_filter import target_of
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.keys_and_prices import catalog, key_facts, list_price
from tests.unit.router.test_handlers import UnavailableStore, no_worker

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LAB = key_facts("custom", "key_lab", name="lab", base_url="https://lab.example/v1", models=["llama", "phi"])
SHOP = key_facts("custom", "key_shop", name="shop", base_url="https://shop.example/v1", models=["llama"])
PLAIN = key_facts("custom", "key_plain", base_url="https://plain.example/v1")


def context(*keys: KeyFacts, tenant: str = "acme", endpoints: tuple[Endpoint, ...] = ()) -> RoutingContext:
    index = KeyIndex()
    index.rebuild(keys)
    return RoutingContext(
        Tenant(tenant=tenant, name="Acme", tier=Tier.ENTERPRISE),
        endpoints,
        NOW,
        catalog=catalog(),
        own_keys=index.of(tenant),
        platform_keys=index.of("platform"),
        own_servers=index.servers_of(tenant),
        prices=list_price,
    )


def planned(model: str, *keys: KeyFacts, failed: tuple[FailedAttempt, ...] = ()) -> Plan:
    return plan(RouteRequest("acme", model, failed_attempts=failed), context(*keys))


def order(made: Plan) -> list[tuple[str | None, str | None, str]]:
    chosen = [made.candidates[index] for index in made.order]
    return [(candidate.key_id, candidate.endpoint, candidate.model) for candidate in chosen]


@pytest.mark.parametrize("separator", ["/", ":"])
def test_a_servers_name_reaches_that_server_alone(separator: str) -> None:
    assert order(planned(f"lab{separator}llama", LAB, SHOP, PLAIN)) == [("key_lab", "lab", "llama")]
    assert order(planned(f"shop{separator}org/llama", LAB, SHOP, PLAIN)) == [("key_shop", "shop", "org/llama")]


def test_the_providers_name_reaches_the_server_without_a_name() -> None:
    made = planned("custom/llama", LAB, SHOP, PLAIN)
    assert order(made) == [("key_plain", None, "llama")]
    reasons = {candidate.key_id: candidate.reason for candidate in made.candidates}
    assert reasons["key_lab"] is reasons["key_shop"] is DropReason.SERVER_NOT_NAMED


def test_a_refusal_says_the_names_to_ask_for() -> None:
    refusal = planned("custom/llama", LAB, SHOP).refusal
    assert refusal is not None
    assert refusal.failure_class is FailureClass.NOT_FOUND
    assert "ask for lab/llama" in refusal.message
    assert "ask for shop/llama" in refusal.message


def test_another_tenants_server_has_no_name_here() -> None:
    foreign = LAB.model_copy(update={"tenant": "globex"})
    refusal = planned("lab/llama", foreign, PLAIN).refusal
    assert refusal is not None
    assert refusal.failure_class is FailureClass.NOT_FOUND


def test_keys_of_one_server_replace_each_other_where_the_failure_is_the_keys() -> None:
    second = LAB.model_copy(update={"key_id": "key_lab2", "priority": 200})

    def after(failure_class: FailureClass) -> list[str | None]:
        failure = Failure(failure_class=failure_class, message="no")
        failed = FailedAttempt(
            attempt_id="att_1", provider="custom", endpoint="lab", model="llama", key_id="key_lab", failure=failure
        )
        return [key_id for key_id, _, _ in order(planned("lab/llama", LAB, second, failed=(failed,)))]

    assert after(FailureClass.AUTH) == ["key_lab2"]
    assert after(FailureClass.TIMEOUT) == [], "it is the same server"


def test_a_named_server_has_a_circuit_of_its_own() -> None:
    made = planned("lab/llama", LAB)
    index = made.order[0]
    target = target_of(made.candidates[index], "acme", made.keys[index].origin)
    assert (target.tenant, target.endpoint, target.model) == ("acme", "lab", "llama")


def test_the_attempt_carries_the_servers_name_and_address() -> None:
    request = ChatRequest(
        request_id="req_1", tenant="acme", model="shop/llama", stream=False, deadline_ms=1000, start_by_unix_ms=0
    )
    run = decide(request, context(LAB, SHOP), FreshIds("dec_1", "att_1"), traceparent=None).run
    assert run is not None
    assert (run.endpoint, run.base_url, run.key_id, run.model) == (
        "shop",
        "https://shop.example/v1",
        "key_shop",
        "llama",
    )


def test_models_are_listed_under_the_names_of_their_servers() -> None:
    listed = available_models(context(LAB, SHOP), ListModels(tenant="acme"))
    own = [(model.id, model.endpoint) for model in listed if model.provider == "custom"]
    assert own == [("lab/llama", "lab"), ("lab/phi", "lab"), ("shop/llama", "shop")]
    of_shop = available_models(context(LAB, SHOP), ListModels(tenant="acme", provider="shop"))
    assert [model.id for model in of_shop] == ["shop/llama"]


@pytest.mark.parametrize("allowed", ["llama", "lab/llama"])
def test_a_keys_scope_counts_under_both_names_of_a_model(allowed: str) -> None:
    limited = LAB.model_copy(update={"allowed_models": [allowed]})
    assert order(planned("lab/llama", limited)) == [("key_lab", "lab", "llama")]
    assert order(planned("lab/phi", limited)) == []


def test_a_named_deployment_still_serves_the_catalogs_models() -> None:
    azure = key_facts("azure", "key_eu", name="azure-eu", base_url="https://eu.openai.azure.com")
    assert order(planned("gpt-5", azure)) == [("key_eu", "azure-eu", "gpt-5")]
    assert order(planned("azure-eu/gpt-5", azure)) == [("key_eu", "azure-eu", "gpt-5")]
    assert order(planned("azure/gpt-5", azure)) == []


async def test_an_endpoint_cannot_take_the_name_of_a_keys_server() -> None:
    handlers = ManagementHandlers(UnavailableStore(), lambda _: context(LAB), AddressPolicy(), no_worker)
    command = SaveEndpoint(tenant="acme", name="lab", base_url="https://llm.example/v1", models=[])
    with pytest.raises(Refused, match="has a provider key for a server called lab") as refused:
        await handlers.save_endpoint(command)
    assert refused.value.refusal.code is ErrorCode.CONFLICT
