"""The rules of tenants."""

import pytest

from keyferry.contracts.limits import LimitChanges, Limits
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import ByokUse, CreateTenant, KeyPolicy, Tenant, Tier, TierSource, UpdateTenant
from services.tenant_directory import tenants
from services.tenant_directory.tenants import RuleViolation

ACME = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)


def test_a_new_tenant_has_the_requested_values_and_is_not_suspended() -> None:
    assert tenants.create(CreateTenant(tenant="acme", name="Acme", tier=Tier.STARTER)) == ACME


def test_the_platforms_own_name_is_reserved() -> None:
    with pytest.raises(RuleViolation, match="Choose another name") as caught:
        tenants.create(CreateTenant(tenant="platform", name="Mine"))
    assert caught.value.code is ErrorCode.INVALID


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (UpdateTenant(tenant="acme", name="New"), Tenant(tenant="acme", name="New", tier=Tier.STARTER)),
        (
            UpdateTenant(tenant="acme", tier=Tier.FREE),
            ACME.model_copy(update={"tier": Tier.FREE, "tier_set_by": TierSource.OPERATOR}),
        ),
        (UpdateTenant(tenant="acme", suspended=True), ACME.model_copy(update={"suspended": True})),
        (UpdateTenant(tenant="acme", suspended=False), ACME),
        (
            UpdateTenant(tenant="acme", key_policy=KeyPolicy.OWN),
            ACME.model_copy(update={"key_policy": KeyPolicy.OWN}),
        ),
        (UpdateTenant(tenant="acme", drop_unsupported=True), ACME.model_copy(update={"drop_unsupported": True})),
        (UpdateTenant(tenant="acme", drop_unsupported=False), ACME),
        (UpdateTenant(tenant="acme", allow_unapproved=True), ACME.model_copy(update={"allow_unapproved": True})),
        (UpdateTenant(tenant="acme", allow_unapproved=False), ACME),
        (UpdateTenant(tenant="acme", byok=ByokUse.OFF), ACME.model_copy(update={"byok": ByokUse.OFF})),
        (
            UpdateTenant(tenant="acme", limits=LimitChanges(rpm=7)),
            ACME.model_copy(update={"limits": Limits(rpm=7)}),
        ),
    ],
)
def test_an_update_keeps_omitted_fields(command: UpdateTenant, expected: Tenant) -> None:
    assert tenants.update(ACME, command) == expected


def test_an_empty_update_is_rejected() -> None:
    with pytest.raises(
        RuleViolation,
        match=r"name, tier, suspended, key_policy, .*content, content_days, time_zone, limits and follow_subscription",
    ):
        tenants.update(ACME, UpdateTenant(tenant="acme"))


def test_the_platforms_own_tenant_cannot_be_suspended() -> None:
    platform = Tenant(tenant="platform", name="Platform", tier=Tier.ENTERPRISE)
    with pytest.raises(RuleViolation, match="cannot be changed"):
        tenants.update(platform, UpdateTenant(tenant="platform", suspended=True))


def test_limits_are_changed_one_by_one_and_go_back_to_the_tiers() -> None:
    limited = ACME.model_copy(update={"limits": Limits(rpm=7, tpm="unlimited")})
    without_rpm = tenants.update(limited, UpdateTenant(tenant="acme", limits=LimitChanges(rpm="default")))
    assert without_rpm.limits == Limits(tpm="unlimited")
    neither = tenants.update(without_rpm, UpdateTenant(tenant="acme", limits=LimitChanges(tpm="default")))
    assert neither.limits is None


def test_an_update_without_any_limit_in_it_is_rejected() -> None:
    with pytest.raises(RuleViolation, match="nothing to change"):
        tenants.update(ACME, UpdateTenant(tenant="acme", limits=LimitChanges()))
