"""What a candidate says about its key, and the order of equal keys."""

from hashlib import blake2b
from math import log

import pytest

from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.route import DropReason
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from keyferry.contracts.usage import KeySource
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.key_candidates import draw
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key
from tests.unit.router.test_key_plan import NOW, order, planned


def details(model: str, *keys: KeyFacts) -> dict[str | None, str]:
    return {candidate.key_id: candidate.detail for candidate in planned(model, *keys).candidates}


def test_a_kept_candidate_says_what_is_special_about_its_key() -> None:
    found = details(
        "gpt-4o",
        key_facts("openai", "key_valid", priority=7),
        key_facts("openai", "key_degraded", status=KeyStatus.DEGRADED),
    )
    assert found["key_valid"].endswith(" (priority 7)")
    assert found["key_degraded"].endswith(" (priority 100, degraded)")


def test_a_kept_candidate_says_its_region() -> None:
    found = details("claude-haiku-4-5", key_facts("bedrock", "key_eu", fields={"region": "eu-central-1"}))
    assert found["key_eu"].endswith(" (priority 100, region eu)")


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"region": "mars-1"}, "mars-1"),
        ({"location": "mars-2"}, "mars-2"),
        ({}, "no region that is known"),
    ],
)
def test_a_key_for_another_place_says_which(fields: dict[str, str], place: str) -> None:
    made = planned("nova-pro", key_facts("bedrock", "key_far", fields=fields))
    (candidate,) = [candidate for candidate in made.candidates if candidate.key_id == "key_far"]
    assert candidate.provider == "bedrock"
    assert f" is for {place}, where AWS Bedrock does not have nova-pro" in candidate.detail


@pytest.mark.parametrize("weight", [1, 3])
def test_the_draw_is_an_exponential_variate_with_the_weight_as_its_rate(weight: int) -> None:
    key = key_facts("openai", weight=weight)
    for request_id in ("req_1", "req_2", "req_3"):
        number = int.from_bytes(blake2b(f"{request_id} {key.key_id}".encode(), digest_size=8).digest())
        assert draw(request_id, key) == pytest.approx(-log((number + 1) / (2**64 + 1)) / weight, rel=1e-12)


def test_the_platforms_own_requests_are_paid_by_its_keys() -> None:
    index = KeyIndex()
    index.rebuild([platform_key("openai"), key_facts("openai")])
    platform = Tenant(tenant="platform", name="Platform", tier=Tier.ENTERPRISE)
    context = RoutingContext(
        platform, (), NOW, catalog=catalog(), own_keys=index.of("platform"), platform_keys=index.of("platform"),
        prices=list_price,
    )  # fmt: skip
    made = plan(RouteRequest("platform", "gpt-4o"), context)
    assert [made.candidates[at].key_id for at in made.order] == ["key_p"]


def test_a_foreign_key_in_the_view_is_skipped_and_the_next_one_used() -> None:
    foreign, own = key_facts("openai", "key_foreign", tenant="globex"), key_facts("openai", "key_own")
    context = RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE), (), NOW, catalog=catalog(),
        own_keys={"openai": [foreign, own]}, prices=list_price,
    )  # fmt: skip
    made = plan(RouteRequest("acme", "gpt-4o"), context)
    assert [made.candidates[at].key_id for at in made.order] == ["key_own"]
    assert "key_foreign" not in {candidate.key_id for candidate in made.candidates}


def test_of_equal_keys_the_catalogs_order_of_providers_decides() -> None:
    providers = [offering.provider for offering in catalog().resolve("gpt-4o").offerings]
    first, second = list(dict.fromkeys(name for name in providers if name in ("openai", "openrouter")))
    for request_id in ("req_1", "req_2", "req_3", "req_4"):
        made = planned("gpt-4o", key_facts(second, "key_b"), key_facts(first, "key_a"), request_id=request_id)
        assert order(made) == ["key_a", "key_b"]


@pytest.mark.parametrize(
    ("policy", "source"),
    [(KeyPolicy.PLATFORM, KeySource.PLATFORM), (KeyPolicy.OWN, KeySource.BYOK), (None, KeySource.BYOK)],
)
def test_a_provider_without_a_key_has_the_key_source_that_could_pay(
    policy: KeyPolicy | None, source: KeySource
) -> None:
    made = planned("gpt-4o", policy=policy)
    missing = [candidate for candidate in made.candidates if candidate.provider == "openai"]
    assert [(candidate.key_source, candidate.reason) for candidate in missing] == [(source, DropReason.NO_KEY)]


def test_what_bans_all_candidates_bans_a_provider_without_a_key() -> None:
    made = planned("gpt-4o", allowed_models=["another"])
    reasons = {candidate.reason for candidate in made.candidates if candidate.provider == "openai"}
    assert reasons == {DropReason.MODEL_NOT_ALLOWED}


def test_a_platform_key_is_nobodys_server_whatever_its_name() -> None:
    made = planned("gpt-4o", platform_key("openai", name="lab"))
    (candidate,) = [made.candidates[at] for at in made.order]
    assert (candidate.key_id, candidate.endpoint) == ("key_p", None)
