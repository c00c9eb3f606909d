"""Which tenants may have provider keys, how many, and the errors for others."""

import pytest

from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant, Tier
from keyferry.tiers.byok import ByokSwitch
from keyferry.tiers.file import BUNDLED_TIERS, Tiers
from services.key_vault.database.errors import RequestRejected
from services.key_vault.keys.quota import check_byok_allowed, check_quota
from tests.unit.key_vault.keys.stored_keys import key

TIERS = Tiers.parse(BUNDLED_TIERS.read_text())


def tenant(tier: Tier, suspended: bool = False) -> Tenant:
    return Tenant(tenant="acme", name="Acme", tier=tier, suspended=suspended)


def test_free_tier_error_names_the_upgrade() -> None:
    with pytest.raises(RequestRejected, match=r"upgrade to starter"):
        check_byok_allowed("acme", tenant(Tier.FREE), ByokSwitch(), TIERS)


@pytest.mark.parametrize("tier", [Tier.STARTER, Tier.PROFESSIONAL, Tier.ENTERPRISE])
def test_other_tiers_may_have_keys(tier: Tier) -> None:
    check_byok_allowed("acme", tenant(tier), ByokSwitch(), TIERS)
    check_quota("acme", tenant(tier), "openai", [], TIERS)


def test_the_starter_tier_has_one_key_per_provider() -> None:
    stored = [key(key_id="key_7", label="old")]
    with pytest.raises(
        RequestRejected,
        match=r"has 1 key per provider, and acme has 1 for OpenAI: key_7 \(old\).*upgrade to professional",
    ):
        check_quota("acme", tenant(Tier.STARTER), "openai", stored, TIERS)
    check_quota("acme", tenant(Tier.STARTER), "anthropic", stored, TIERS)
    check_quota("acme", tenant(Tier.PROFESSIONAL), "openai", stored, TIERS)


def test_platform_has_no_limits() -> None:
    check_byok_allowed(PLATFORM_TENANT, None, ByokSwitch(enabled=False), TIERS)
    check_quota(PLATFORM_TENANT, None, "openai", [key(tenant=PLATFORM_TENANT)] * 9, TIERS)


def test_byok_switch_is_global_or_per_tenant() -> None:
    rich = tenant(Tier.ENTERPRISE)
    for switch in (ByokSwitch(enabled=False), ByokSwitch(tenants=frozenset({"globex"}))):
        with pytest.raises(RequestRejected, match=r"switched off for acme.*the operator switches them on with"):
            check_byok_allowed("acme", rich, switch, TIERS)
    check_byok_allowed("acme", rich, ByokSwitch(tenants=frozenset({"acme"})), TIERS)


def test_unknown_and_suspended_tenants_are_rejected() -> None:
    with pytest.raises(RequestRejected, match="no tenant acme"):
        check_byok_allowed("acme", None, ByokSwitch(), TIERS)
    with pytest.raises(RequestRejected, match="acme is suspended"):
        check_byok_allowed("acme", tenant(Tier.ENTERPRISE, suspended=True), ByokSwitch(), TIERS)
