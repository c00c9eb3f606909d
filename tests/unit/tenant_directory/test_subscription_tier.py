"""Who decides a tenant's tier: an operator, or its subscription."""

from datetime import UTC, datetime
from typing import Any

import pytest

from keyferry.contracts.subscriptions import ApplySubscription
from keyferry.contracts.tenancy import CreateTenant, Tenant, Tier, TierSource, UpdateTenant
from services.tenant_directory import tenants
from services.tenant_directory.tenants import RuleViolation


def tenant(**values: Any) -> Tenant:
    return Tenant(**{"tenant": "acme", "name": "Acme", "tier": Tier.STARTER, **values})


def apply(tier: Tier | None) -> ApplySubscription:
    return ApplySubscription(tenant="acme", tier=tier, without=Tier.STARTER)


@pytest.mark.parametrize(
    ("tier", "source"), [(Tier.STARTER, None), (Tier.FREE, TierSource.OPERATOR), (Tier.ENTERPRISE, TierSource.OPERATOR)]
)
def test_only_the_usual_tier_of_a_new_tenant_is_nobodys(tier: Tier, source: TierSource | None) -> None:
    assert tenants.create(CreateTenant(tenant="acme", name="Acme", tier=tier)).tier_set_by is source


def test_a_subscription_gives_its_tier_and_takes_it_back() -> None:
    paid = tenants.apply_subscription(tenant(), apply(Tier.PROFESSIONAL))
    assert (paid.tier, paid.tier_set_by) == (Tier.PROFESSIONAL, TierSource.SUBSCRIPTION)
    assert tenants.apply_subscription(paid, apply(Tier.PROFESSIONAL)) == paid
    ended = tenants.apply_subscription(paid, apply(None))
    assert (ended.tier, ended.tier_set_by) == (Tier.STARTER, None)
    assert tenants.apply_subscription(ended, apply(None)) == ended


def test_a_tier_that_an_operator_sets_stays_until_it_is_handed_over() -> None:
    paid = tenants.apply_subscription(tenant(), apply(Tier.PROFESSIONAL))
    chosen = tenants.update(paid, UpdateTenant(tenant="acme", tier=Tier.ENTERPRISE))
    assert chosen.tier_set_by is TierSource.OPERATOR
    for tier in (Tier.PROFESSIONAL, None):
        assert tenants.apply_subscription(chosen, apply(tier)) == chosen
    handed_over = tenants.update(chosen, UpdateTenant(tenant="acme", follow_subscription=True))
    assert handed_over.tier is Tier.ENTERPRISE, "until the subscription is applied"
    assert tenants.apply_subscription(handed_over, apply(Tier.PROFESSIONAL)).tier is Tier.PROFESSIONAL


def test_another_change_leaves_the_tiers_owner_as_it_is() -> None:
    paid = tenants.apply_subscription(tenant(), apply(Tier.PROFESSIONAL))
    assert tenants.update(paid, UpdateTenant(tenant="acme", name="B")).tier_set_by is TierSource.SUBSCRIPTION


def test_a_tier_and_its_handing_over_contradict_each_other() -> None:
    with pytest.raises(RuleViolation, match="either"):
        tenants.update(tenant(), UpdateTenant(tenant="acme", tier=Tier.FREE, follow_subscription=True))


def test_a_deleted_tenant_gets_no_tier() -> None:
    with pytest.raises(RuleViolation, match="was deleted"):
        tenants.apply_subscription(tenant(deleted_at=datetime(2026, 11, 30, tzinfo=UTC)), apply(Tier.PROFESSIONAL))


def test_the_platform_has_no_subscription() -> None:
    platform = tenant(tenant="platform")
    command = ApplySubscription(tenant="platform", tier=Tier.FREE, without=Tier.STARTER)
    assert tenants.apply_subscription(platform, command) == platform
