"""Keys for one team or one member: which requests they pay for, in which order, and why not for others."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.route import DropReason
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.provider_keys import KeyIndex
from services.router.power.ratings import NOTHING_LEARNED
from services.router.power.tables import PowerTables
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key
from tests.support.router.power import quality
from tests.unit.router.test_key_plan import order, planned, reasons, refused

WIDE = key_facts("openai", "key_wide")
TEAM = key_facts("openai", "key_team", team="research", priority=900)
MEMBER = key_facts("openai", "key_member", member="mem_ann", priority=999)
PLATFORM = platform_key("openai", "key_plat")


@pytest.mark.parametrize(
    ("team", "member", "expected"),
    [
        (None, None, ["key_wide"]),
        ("research", None, ["key_team", "key_wide"]),
        (None, "mem_ann", ["key_member", "key_wide"]),
        ("research", "mem_ann", ["key_member", "key_team", "key_wide"]),
        ("sales", "mem_bob", ["key_wide"]),
        ("Research", "mem_ann ", ["key_wide"]),
    ],
)
def test_the_narrowest_scope_comes_first_whatever_the_priorities(
    team: str | None, member: str | None, expected: list[str]
) -> None:
    made = planned("gpt-4o", WIDE, TEAM, MEMBER, team=team, member=member)
    assert order(made) == expected
    others = {"key_wide", "key_team", "key_member"} - set(expected)
    assert {key: reasons(made)[key] for key in others} == dict.fromkeys(others, DropReason.KEY_OTHER_SCOPE)


def test_the_refusal_of_another_team_says_whose_key_it_is() -> None:
    failure = refused(planned("gpt-4o", TEAM, policy=KeyPolicy.OWN, team="sales"))
    assert failure.failure_class is FailureClass.POLICY
    assert "for requests of the team research" in failure.message
    outside = refused(planned("openai/gpt-unlisted", TEAM, policy=KeyPolicy.OWN, team="sales"))
    assert outside.failure_class is FailureClass.POLICY


def test_a_teams_key_does_not_keep_the_platform_from_paying_for_others() -> None:
    assert order(planned("gpt-4o", TEAM, PLATFORM, team="sales")) == ["key_plat"]
    assert order(planned("gpt-4o", TEAM, PLATFORM, team="research")) == ["key_team"]
    assert order(planned("gpt-4o", TEAM, PLATFORM, policy=KeyPolicy.OWN_THEN_PLATFORM, team="sales")) == ["key_plat"]


def test_tables_of_power_levels_differ_by_team_only_where_a_key_does() -> None:
    index = KeyIndex()
    tables = PowerTables(quality())
    context = RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE, key_policy=KeyPolicy.OWN),
        (),
        datetime(2026, 11, 1, tzinfo=UTC),
        catalog=catalog(),
        prices=list_price,
    )

    def callable_models(team: str | None) -> set[str]:
        keys = replace(context, own_keys=index.of("acme"))
        table = tables.of(RouteRequest("acme", "auto", team=team), keys, NOTHING_LEARNED)
        return {model.id for model in table.models}

    index.rebuild([WIDE])
    assert callable_models("research") == callable_models("sales") != set()
    assert len(tables) == 1
    index.rebuild([TEAM])
    assert callable_models("research") != set()
    assert callable_models("sales") == set()
    assert callable_models("research") != set()
