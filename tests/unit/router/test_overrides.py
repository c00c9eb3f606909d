"""Routers obey an operator's overrides, the most specific one, until they expire."""

from datetime import UTC, datetime, timedelta

from keyferry.contracts.health import CircuitState, Health, Override, Target
from keyferry.contracts.tenancy import Tenant, Tier
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.overrides import OverrideIndex, forced_health
from services.router.planning.plan import plan

NOW = datetime(2026, 11, 1, tzinfo=UTC)
GPT = Target(provider="openai", model="gpt", origin="https://api.openai.com")
LAB = Target(provider="custom", model="llama", tenant="acme", endpoint="lab", origin="https://lab.example")


def override(state: CircuitState, **selector: str) -> Override:
    values = {"state": state, "reason": "maintenance", "actor": "operator", "since": NOW}
    return Override.model_validate({**values, "until": NOW + timedelta(minutes=10), **selector})


def index(*overrides: Override) -> OverrideIndex:
    made = OverrideIndex()
    made.rebuild(overrides)
    return made


def test_a_provider_is_forced_with_all_of_its_models_until_the_override_expires() -> None:
    forced = override(CircuitState.OPEN, provider="openai")
    assert index(forced).of(GPT, NOW) == forced
    assert index(forced).of(LAB, NOW) is None
    assert index(forced).of(GPT, forced.until) is None
    assert index().of(GPT, NOW) is None


def test_the_more_precise_override_wins() -> None:
    wide, narrow = (
        override(CircuitState.OPEN, provider="openai"),
        override(CircuitState.CLOSED, provider="openai", model="gpt"),
    )
    assert index(wide, narrow).of(GPT, NOW) == narrow
    assert index(wide, narrow).of(GPT.model_copy(update={"model": "mini"}), NOW) == wide
    custom = override(CircuitState.OPEN, provider="custom")
    lab = override(CircuitState.CLOSED, provider="custom", tenant="acme", endpoint="lab")
    assert index(custom, lab).of(LAB, NOW) == lab


def test_another_tenants_endpoint_of_the_same_name_is_not_forced() -> None:
    lab = override(CircuitState.OPEN, provider="custom", tenant="globex", endpoint="lab")
    assert index(lab).of(LAB, NOW) is None


def test_a_tenants_server_is_forced_by_its_name_whatever_its_provider_is() -> None:
    gpu = LAB.model_copy(update={"provider": "vllm", "endpoint": "gpu"})
    forced = override(CircuitState.OPEN, provider="custom", tenant="acme", endpoint="gpu")
    assert index(forced).of(gpu, NOW) == forced
    assert index(forced).of(LAB, NOW) is None


def test_a_cooling_key_stays_cooling_whatever_is_forced() -> None:
    forced = override(CircuitState.CLOSED, provider="openai")
    assert index(forced).of(GPT.of_key("key_1", "acme"), NOW) is None


def test_the_health_of_a_forced_target_has_the_reason_and_the_end() -> None:
    is_open = forced_health(GPT, override(CircuitState.OPEN, provider="openai"))
    assert (is_open.state, is_open.until) == (CircuitState.OPEN, NOW + timedelta(minutes=10))
    assert "an operator has forced its circuit open: maintenance" in is_open.reason
    closed = forced_health(GPT, override(CircuitState.CLOSED, provider="openai"))
    assert (closed.state, closed.until) == (CircuitState.CLOSED, None)


def test_a_plan_obeys_an_override_also_for_the_echo_and_an_expired_one_not() -> None:
    forced = override(CircuitState.OPEN, provider="echo")
    found = index(forced)

    def planned(now: datetime) -> Plan:
        def health(target: Target) -> Health | None:
            applies = found.of(target, now)
            return None if applies is None else forced_health(target, applies)

        tenant = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)
        return plan(RouteRequest("acme", "echo"), RoutingContext(tenant, (), now, health=health))

    refused = planned(NOW).refusal
    assert refused is not None
    assert "an operator has forced its circuit open: maintenance" in refused.message
    assert refused.retry_after_ms == 600_000
    assert planned(forced.until).refusal is None
