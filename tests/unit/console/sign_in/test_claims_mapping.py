"""What the claims of a token mean: paths, lists, mapped values, and claims of other forms than expected."""

from typing import Any

import pytest

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.sessions import MAX_MEMBERSHIPS, ClaimedMembership
from keyferry.contracts.tenancy import Tier
from services.console.sign_in.claims import ClaimedIdentity, ClaimsMapping, look_up, read_identity

DEFAULT = ClaimsMapping()


def read(mapping: ClaimsMapping = DEFAULT, **claims: Any) -> ClaimedIdentity:
    return read_identity({"sub": "sub-ada", **claims}, mapping)


def roles(*names: str) -> dict[str, list[str]]:
    return {"roles": list(names)}


def memberships(found: ClaimedIdentity) -> dict[str, str]:
    return {member.tenant: member.role.value for member in found.memberships}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("plain", "x"),
        ("a.b.c", "deep"),
        ("a.b", {"c": "deep"}),
        ("https://keyferry.example/tenant", "by its own name"),
        ("a.b.c.d", None),
        ("a.x.c", None),
        ("listed.0", None),
        ("a..b", None),
        ("missing", None),
    ],
)
def test_a_path_leads_to_a_claim(path: str, found: object) -> None:
    claims = {
        "plain": "x",
        "a": {"b": {"c": "deep"}},
        "https://keyferry.example/tenant": "by its own name",
        "listed": ["x"],
    }
    assert look_up(claims, path) == found


@pytest.mark.parametrize("tenant", ["acme", ["acme"]])
@pytest.mark.parametrize("role", ["keyferry-admin", ["other", "keyferry-admin"]])
def test_a_claim_is_one_text_or_a_list(tenant: object, role: object) -> None:
    assert memberships(read(tenant=tenant, realm_access={"roles": role})) == {"acme": "admin"}


def test_the_most_powerful_role_counts_in_every_tenant() -> None:
    found = read(tenant=["acme", "initech"], realm_access=roles("keyferry-viewer", "keyferry-owner"))
    assert memberships(found) == {"acme": "owner", "initech": "owner"}


@pytest.mark.parametrize("name", ["keyferry-king", "admin", "KEYFERRY-ADMIN", "keyferry-admin ", "", "operator"])
def test_a_role_that_is_not_mapped_gives_nothing(name: str) -> None:
    found = read(tenant="acme", realm_access=roles(name))
    assert memberships(found) == {}
    assert not found.operator
    assert found.says_memberships, "what earlier claims had given ends"


@pytest.mark.parametrize(
    "tenant", ["platform", "No Tenant", "../acme", "", "acme\x00", "x" * 64, 7, None, {"a": "acme"}]
)
def test_what_is_no_tenant_gives_nothing(tenant: object) -> None:
    assert memberships(read(tenant=tenant, realm_access=roles("keyferry-owner"))) == {}


def test_values_are_mapped_if_there_is_a_map() -> None:
    mapping = ClaimsMapping(
        tenant="org.unit",
        role="job",
        roles={"boss": AccessRole.OWNER},
        tenants={"Sales Dept": "acme"},
        memberships={
            "0f3c": ClaimedMembership(tenant="acme", role=AccessRole.VIEWER),
            "91ab": ClaimedMembership(tenant="initech", role=AccessRole.DEVELOPER),
        },
    )
    found = read(mapping, org={"unit": ["Sales Dept", "initech"]}, job="boss", groups=["91ab", "0f3c", "unknown"])
    assert memberships(found) == {"acme": "owner", "initech": "developer"}, "unmapped values mean nothing"


def test_claims_of_other_forms_mean_nothing() -> None:
    for other in (7, True, None, {"x": ["acme"]}, [["acme"]], [None]):
        found = read(tenant=other, realm_access=other, groups=other, subscription_tier=other, name=other, amr=other)
        assert (memberships(found), found.operator, found.tier, found.amr) == ({}, False, None, ())
        assert found.name == "somebody without a name"


@pytest.mark.parametrize(
    ("operators", "value", "operator"),
    [
        ({"keyferry-operator"}, "keyferry-operator", True),
        ({"root"}, "keyferry-operator", False),
        ({"root"}, "root", True),
        (set(), "keyferry-operator", False),
        ({"keyferry-operator"}, "keyferry-operator-not", False),
    ],
)
def test_only_a_named_value_makes_an_operator(operators: set[str], value: str, operator: bool) -> None:
    mapping = ClaimsMapping(operators=frozenset(operators))
    assert read(mapping, realm_access=roles("x", value)).operator is operator


def test_an_operator_claim_without_a_path_makes_nobody_an_operator() -> None:
    mapping = ClaimsMapping(operator="")
    assert not read(mapping, realm_access=roles("keyferry-operator"), **{"": "keyferry-operator"}).operator


@pytest.mark.parametrize(
    ("claim", "tier"),
    [
        ("professional", Tier.PROFESSIONAL),
        (["professional"], Tier.PROFESSIONAL),
        (["professional", "professional"], Tier.PROFESSIONAL),
        (["professional", "enterprise"], None),
        ("gold", None),
        (["gold", "enterprise"], Tier.ENTERPRISE),
    ],
)
def test_a_tier_counts_if_it_is_only_one(claim: object, tier: Tier | None) -> None:
    assert read(subscription_tier=claim).tier is tier
    assert read(ClaimsMapping(tier="plan", tiers={"gold": Tier.ENTERPRISE}), plan="gold").tier is Tier.ENTERPRISE


@pytest.mark.parametrize(
    ("email", "verified", "read_as"),
    [
        ("Ada@Example.com", True, "ada@example.com"),
        ("ada@example.com", False, None),
        ("ada@example.com", "true", None),
        ("ada@example.com", None, None),
        ("a@b@c", True, None),
        ("ada @example.com", True, None),
        ("ada@example.com\n", True, None),
        ("a" * 250 + "@x.de", True, None),
    ],
)
def test_an_address_counts_only_if_it_is_verified(email: str, verified: object, read_as: str | None) -> None:
    assert read(email=email, email_verified=verified).email == read_as


def test_memberships_have_a_limit() -> None:
    many = [f"t{number}" for number in range(MAX_MEMBERSHIPS + 10)]
    assert len(read(tenant=many, realm_access=roles("keyferry-viewer")).memberships) == MAX_MEMBERSHIPS


@pytest.mark.parametrize(
    ("moment", "read_as"), [(1700000000, 1700000000), (True, None), (-1, None), (1.5, None), ("1", None)]
)
def test_the_time_of_authentication_is_a_whole_second(moment: object, read_as: int | None) -> None:
    assert read(auth_time=moment).auth_time == read_as
