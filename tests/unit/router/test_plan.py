"""Planning: every candidate has its reason, constraints come before order, and a refusal contains the remedy."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.route import DropReason, Endpoint
from keyferry.contracts.tenancy import Tenant, Tier
from services.router.planning.available_models import callable_models as models
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.plan import plan

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ACME = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)


def endpoint(name: str, *available_models: str, priority: int = 100, enabled: bool = True) -> Endpoint:
    return Endpoint(
        tenant="acme",
        name=name,
        base_url=f"https://{name}.example/v1",
        models=list(available_models),
        priority=priority,
        enabled=enabled,
    )


def context(*endpoints: Endpoint, tenant: Tenant | None = ACME) -> RoutingContext:
    return RoutingContext(tenant, endpoints, NOW)


def test_echo_is_there_without_any_configuration() -> None:
    made = plan(RouteRequest("acme", "echo"), context())
    assert [made.candidates[i].provider for i in made.order] == ["echo"]
    assert made.refusal is None


def test_lower_priority_number_comes_first_then_the_name() -> None:
    made = plan(
        RouteRequest("acme", "llama"),
        context(endpoint("zeta", "llama", priority=1), endpoint("beta", "llama"), endpoint("alpha", "llama")),
    )
    assert [made.candidates[i].endpoint for i in made.order] == ["zeta", "alpha", "beta"]


def test_every_candidate_has_a_detail_and_every_dropped_one_a_reason() -> None:
    made = plan(
        RouteRequest("acme", "llama"),
        context(endpoint("a", "llama"), endpoint("b", "other"), endpoint("c", "llama", enabled=False)),
    )
    reasons = {candidate.endpoint or candidate.provider: candidate.reason for candidate in made.candidates}
    assert reasons == {
        "echo": DropReason.NOT_NAMED,
        "a": None,
        "b": DropReason.MODEL_NOT_OFFERED,
        "c": DropReason.ENDPOINT_DISABLED,
    }
    assert all(candidate.detail for candidate in made.candidates)
    assert all((candidate.reason is None) is candidate.kept for candidate in made.candidates)


def test_an_endpoint_named_in_the_model_gets_the_part_after_the_first_slash() -> None:
    made = plan(RouteRequest("acme", "hub/meta/llama-3"), context(endpoint("hub"), endpoint("other", "meta/llama-3")))
    chosen = [made.candidates[i] for i in made.order]
    assert [(c.endpoint, c.model) for c in chosen] == [("hub", "meta/llama-3")]


def test_a_listed_model_with_a_slash_is_taken_as_it_is() -> None:
    made = plan(RouteRequest("acme", "meta/llama-3"), context(endpoint("hub", "meta/llama-3")))
    assert [made.candidates[i].model for i in made.order] == ["meta/llama-3"]


@pytest.mark.parametrize("tenant", [None, ACME.model_copy(update={"suspended": True})])
def test_a_suspended_or_unknown_tenant_gets_nothing(tenant: Tenant | None) -> None:
    made = plan(RouteRequest("acme", "echo"), context(tenant=tenant))
    assert made.refusal is not None
    assert made.refusal.failure_class is FailureClass.POLICY
    assert models(context(tenant=tenant), None) == []


def test_a_model_that_the_client_token_may_not_use_is_refused() -> None:
    made = plan(RouteRequest("acme", "llama", allowed_models=["echo"]), context(endpoint("a", "llama")))
    assert made.refusal is not None
    assert made.refusal.failure_class is FailureClass.POLICY
    assert not made.order


def test_an_unknown_model_is_distinguished_from_a_forbidden_one_and_lists_the_available_ones() -> None:
    made = plan(RouteRequest("acme", "gpt-9"), context(endpoint("a", "llama")))
    assert made.refusal is not None
    assert made.refusal.failure_class is FailureClass.NOT_FOUND
    assert "a/llama" in made.refusal.message
    assert "echo" in made.refusal.message


def test_a_disabled_endpoint_is_named_in_the_refusal() -> None:
    made = plan(RouteRequest("acme", "llama"), context(endpoint("a", "llama", enabled=False)))
    assert made.refusal is not None
    assert made.refusal.failure_class is FailureClass.UNAVAILABLE
    assert "switched off" in made.refusal.message


def test_models_are_listed_once_and_only_if_the_token_may_use_them() -> None:
    both = context(endpoint("a", "llama"), endpoint("b", "llama", "mixtral"), endpoint("off", "x", enabled=False))
    assert [model.id for model in models(both, None)] == ["echo", "llama", "a/llama", "b/llama", "mixtral", "b/mixtral"]
    assert [model.id for model in models(both, ["mixtral"])] == ["mixtral"]
