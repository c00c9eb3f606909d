"""The tier file: strict parsing, and what is asked of it."""

import pytest

from keyferry.contracts.limits import LimitKind, Limits
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.tiers import Feature
from keyferry.runtime.process.settings import SettingsError
from keyferry.runtime.tiers import load_tiers
from keyferry.tiers.file import BUNDLED_TIERS, BadTierFile, Tiers

TEXT = BUNDLED_TIERS.read_text(encoding="utf-8")
TIERS = Tiers.parse(TEXT)


def tenant(tier: Tier, limits: Limits | None = None) -> Tenant:
    return Tenant(tenant="acme", name="Acme", tier=tier, limits=limits)


@pytest.mark.parametrize(
    ("tier", "rpm", "tpm", "keys"),
    [
        (Tier.FREE, 10, 10_000, 0),
        (Tier.STARTER, 100, 100_000, 1),
        (Tier.PROFESSIONAL, 500, 500_000, None),
        (Tier.ENTERPRISE, 2000, 2_000_000, None),
    ],
)
def test_the_bundled_tiers_have_the_promised_limits(tier: Tier, rpm: int, tpm: int, keys: int | None) -> None:
    assert TIERS.limit(tenant(tier), LimitKind.RPM) == rpm
    assert TIERS.limit(tenant(tier), LimitKind.TPM) == tpm
    assert TIERS.keys_per_provider(tier) == keys


def test_a_tenants_own_limit_replaces_the_tiers_and_may_be_none() -> None:
    own = tenant(Tier.FREE, Limits(rpm=7, tpm="unlimited"))
    assert TIERS.limit(own, LimitKind.RPM) == 7
    assert TIERS.limit(own, LimitKind.TPM) is None
    assert TIERS.limit(own, LimitKind.CONCURRENCY) == 5


def test_what_is_missing_names_the_lowest_tier_that_has_it() -> None:
    why = TIERS.missing(tenant(Tier.FREE), Feature.RULES, "routing rules")
    assert why is not None
    assert "upgrade to professional (`keyferry tenants update acme --tier professional`)" in why
    assert TIERS.missing(tenant(Tier.ENTERPRISE), Feature.RULES, "routing rules") is None


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("rpm = 10\n", "", "free.rpm: this is required"),
        ("rpm = 10\n", "rpm = 10\nrmp = 1\n", "free.rmp: there is no such field"),
        ("rpm = 10\n", "rpm = 0\n", "free.rpm"),
        ("rpm = 10\n", "rpm = true\n", "free.rpm"),
        ("rpm = 10\n", 'rpm = "10"\n', "free.rpm"),
        ("rpm = 10\n", "rpm = 1_000_000_001\n", "free.rpm"),
        ("rpm = 10\n", "rpm = 101\n", "starter: rpm is lower than that of free"),
        ("rpm = 10\n", 'rpm = "unlimited"\n', "starter: rpm is lower than that of free"),
        ("keys_per_provider = 0", "keys_per_provider = 1", "free: the feature byok"),
        ('features = ["byok"]', 'features = ["byok", "byok"]', "starter: a feature is listed twice"),
        ('features = ["byok"]', 'features = ["byok", "support"]', "professional: the feature support of starter"),
        ('features = ["byok"]', 'features = ["cake"]', "starter.features.0"),
        ("[enterprise]", "[platinum]", "enterprise: this is required"),
        ("[free]", "[free", "it is not TOML"),
    ],
)
def test_an_invalid_tier_file_is_rejected_with_its_fault(old: str, new: str, fault: str) -> None:
    assert old in TEXT
    with pytest.raises(BadTierFile) as caught:
        Tiers.parse(TEXT.replace(old, new, 1))
    assert fault in str(caught.value)


def test_a_tier_file_that_cannot_be_read_names_the_setting() -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml.*KEYFERRY_TIER_FILE"):
        load_tiers(BUNDLED_TIERS.with_name("missing.toml"))
