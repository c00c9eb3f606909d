"""Dated and fine-tuned names: a snapshot is its model with a date, and a name that leads nowhere says what to ask for."""

from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import patch

import pytest

from keyferry.contracts.addresses import AddressPolicy
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import DropReason, ListModels
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.runtime.bus.requests import Refused
from services.router.catalog.lookup import ResolvedModel
from services.router.handlers import ManagementHandlers
from services.router.planning.available_models import available_models
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from services.router.planning.suggestions import suggest_names
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key
from tests.unit.router.test_handlers import UnavailableStore, no_worker

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DATED = "gpt-4o-2024-08-06"
TUNED = "ft:gpt-4o-mini-2024-07-18:acme::abc123"
OWN = key_facts("openai", "key_own", models=["gpt-4o", DATED, "gpt-4o-mini", "gpt-4o-search-preview"])


def context(*keys: KeyFacts, allow_unapproved: bool = False, tier: Tier = Tier.ENTERPRISE) -> RoutingContext:
    index = KeyIndex()
    index.rebuild(keys)
    return RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=tier, allow_unapproved=allow_unapproved),
        (),
        NOW,
        catalog=catalog(),
        own_keys=index.of("acme"),
        platform_keys=index.of("platform"),
        own_servers=index.servers_of("acme"),
        prices=list_price,
    )


def planned(model: str, *keys: KeyFacts, allowed: list[str] | None = None, allow_unapproved: bool = False) -> Plan:
    request = RouteRequest("acme", model, allowed_models=allowed)
    return plan(request, context(*keys, allow_unapproved=allow_unapproved))


def called(made: Plan) -> list[tuple[str, str]]:
    return [(made.candidates[index].provider, made.candidates[index].model) for index in made.order]


def refused(made: Plan) -> Failure:
    assert made.refusal is not None
    return made.refusal


# --- snapshots


@pytest.mark.parametrize("name", [DATED, f"openai/{DATED}", f"openai:{DATED}"])
def test_a_snapshot_is_reached_by_its_own_name(name: str) -> None:
    assert called(planned(name, OWN)) == [("openai", DATED)]


def test_a_snapshot_at_another_provider_is_spelled_as_that_provider_does() -> None:
    router = key_facts("openrouter", "key_or")
    assert called(planned(f"openrouter/openai/{DATED}", router, OWN)) == [("openrouter", f"openai/{DATED}")]
    assert called(planned(DATED, router)) == [], "only OpenAI calls it so"


def test_platform_keys_pay_for_a_snapshot_exactly_if_its_own_price_is_known() -> None:
    platform = platform_key("openai")
    assert called(planned(DATED, platform)) == [("openai", DATED)]
    unknown = planned("gpt-4o-2031-01-01", platform)
    assert called(unknown) == []
    assert {candidate.reason for candidate in unknown.candidates} >= {DropReason.UNPRICED}
    assert "`keyferry prices set`" in refused(unknown).message
    low = plan(RouteRequest("acme", DATED), context(platform, tier=Tier.FREE))
    assert DropReason.TIER_TOO_LOW in {candidate.reason for candidate in low.candidates}


def test_scopes_that_name_the_model_do_not_include_its_snapshots() -> None:
    assert refused(planned(DATED, OWN, allowed=["gpt-4o"])).failure_class is FailureClass.POLICY
    assert called(planned(f"openai/{DATED}", OWN, allowed=[DATED])) == [("openai", DATED)]
    limited = OWN.model_copy(update={"allowed_models": ["gpt-4o"]})
    assert called(planned(DATED, limited)) == []
    assert called(planned(DATED, limited.model_copy(update={"allowed_models": [DATED]}))) == [("openai", DATED)]


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-2024-13-01",
        "gpt-4o-2024-02-32",
        "gpt-4o-2024-0806",
        "gpt-99-2024-08-06",
        "gpt-4o-latest",
        "echo-2024-08-06",
    ],
)
def test_other_endings_are_no_snapshots(name: str) -> None:
    assert not catalog().resolve(name).snapshot


def test_deployments_have_no_snapshots_because_tenants_name_them() -> None:
    resolved = catalog().resolve(f"azure/{DATED}")
    assert (resolved.model, resolved.snapshot) == (None, False)


def test_snapshots_that_an_own_key_lists_are_listed() -> None:
    listed = {model.id: model for model in available_models(context(OWN), ListModels(tenant="acme"))}
    snapshot = listed[f"openai/{DATED}"]
    assert (snapshot.approved, snapshot.available, snapshot.provider, snapshot.default) == (True, True, "openai", False)
    assert snapshot.prices == list_price("openai", DATED)
    assert "openai/gpt-4o-search-preview" not in listed


# --- hints


def test_a_name_that_an_own_key_lists_says_how_to_reach_it() -> None:
    failure = refused(planned("gpt-4o-search-preview", OWN))
    assert failure.failure_class is FailureClass.NOT_FOUND
    assert "lists it: ask for openai/gpt-4o-search-preview" in failure.message
    assert "`keyferry tenants set acme --allow-unapproved`" in failure.message
    allowed = refused(planned("gpt-4o-search-preview", OWN, allow_unapproved=True)).message
    assert "--allow-unapproved" not in allowed
    assert called(planned("openai/gpt-4o-search-preview", OWN, allow_unapproved=True))


def test_a_fine_tuned_name_says_which_key_to_ask() -> None:
    message = refused(planned(TUNED, OWN)).message
    assert f"ask for openai/{TUNED}, after `keyferry keys test key_own --tenant acme`" in message
    assert "--allow-unapproved" in message
    fresh = OWN.model_copy(update={"models": [*OWN.models, TUNED]})
    assert f"lists it: ask for openai/{TUNED}" in refused(planned(TUNED, fresh)).message
    assert called(planned(f"openai/{TUNED}", fresh, allow_unapproved=True)) == [("openai", TUNED)]


def test_a_model_of_an_own_server_is_found_by_its_servers_name() -> None:
    lab = key_facts("custom", "key_lab", name="lab", base_url="https://lab.example/v1", models=["llama"])
    assert "lists it: ask for lab/llama." in refused(planned("llama", lab)).message


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("gpt4o", "Did you mean gpt-4o"),
        ("openai/gpt-4oo", "Did you mean openai/gpt-4o"),
        ("claud-opus-5", "claude-opus-5"),
    ],
)
def test_a_misspelt_name_gets_the_nearest_ones(name: str, suggestion: str) -> None:
    anthropic = key_facts("anthropic", "key_claude")
    failure = refused(planned(name, OWN, anthropic))
    assert failure.failure_class is FailureClass.NOT_FOUND
    assert suggestion in failure.message


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    message = refused(planned("zzzzzzzz", OWN)).message
    assert "Did you mean" not in message
    assert "GET /v1/models lists" in message


async def test_names_that_lead_nowhere_are_named_but_not_those_that_only_need_permission() -> None:
    handlers = ManagementHandlers(UnavailableStore(), lambda _: context(OWN), AddressPolicy(), no_worker)
    names = [
        "gpt-4o",
        DATED,
        "claude-opus-5",
        "echo",
        "openai/gpt-4o-search-preview",
        "nosuch",
        "openai/gpt-99",
        "lab/x",
    ]
    query = ListModels(tenant="acme", allowed_models=names, unavailable=True)
    assert (await handlers.list_models(query)).unknown == ["nosuch", "openai/gpt-99", "lab/x"]
    assert (await handlers.list_models(query.model_copy(update={"unavailable": None}))).unknown == []


async def test_no_list_is_given_while_what_limits_it_cannot_be_read() -> None:
    unreadable = replace(context(OWN), unreadable="nothing was sent: damaged")
    handlers = ManagementHandlers(UnavailableStore(), lambda _: unreadable, AddressPolicy(), no_worker)
    with pytest.raises(Refused, match="damaged") as raised:
        await handlers.list_models(ListModels(tenant="acme"))
    assert raised.value.refusal.code is ErrorCode.UNAVAILABLE


def test_a_limited_client_token_learns_nothing_about_the_keys() -> None:
    message = refused(planned("gpt-4o-search-preview", OWN, allowed=["gpt-4o", "gpt-4o-search-preview"])).message
    assert "main" not in message
    assert "key_own" not in message


def test_an_unknown_name_costs_no_look_at_every_model_that_the_keys_list() -> None:
    """A key may list thousands, and the router plans all tenants' requests one after the other."""
    looked_at = 0
    lab = key_facts(
        "custom", "key_lab", name="lab", base_url="https://lab.example/v1", models=[f"m-{n}" for n in range(2000)]
    )
    known = context(lab)
    resolve = known.catalog.resolve

    def count(name: str) -> ResolvedModel:
        nonlocal looked_at
        looked_at += 1
        return resolve(name)

    with patch.object(known.catalog, "resolve", count):
        message = refused(plan(RouteRequest("acme", "nosuch"), known)).message
    assert "GET /v1/models lists: echo, lab/m-0, lab/m-1" in message
    assert looked_at < 100


def test_only_a_bounded_number_of_short_names_is_compared() -> None:
    """Comparing is slow, and a caller chooses the name; a key lists up to 2000 names of 200 characters."""
    assert suggest_names("n" * 200, ["n" * 199]) == ""
    assert suggest_names("name", ["name-x", "n" * 200]) == " Did you mean name-x?"
    assert suggest_names("name", [*(f"other-{index}" for index in range(500)), "name-x"]) == ""
