"""Which tenants may have keys of their own, and how many: the BYOK switch and the tiers. Pure."""

from collections.abc import Iterable

from keyferry.contracts.key import ProviderKey
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant
from keyferry.tiers.byok import ByokSwitch
from keyferry.tiers.file import Tiers, upgrade_to
from services.key_vault.database.errors import RequestRejected


def check_byok_allowed(tenant_id: str, tenant: Tenant | None, switch: ByokSwitch, tiers: Tiers) -> None:
    """Check that the tenant may have keys of its own; `tenant` is null for an unknown one. Raises RequestRejected."""
    if tenant_id == PLATFORM_TENANT:
        return
    if tenant is None:
        raise RequestRejected(
            ErrorCode.NOT_FOUND, f"there is no tenant {tenant_id}: `keyferry tenants create {tenant_id}` adds it"
        )
    if tenant.suspended:
        raise RequestRejected(
            ErrorCode.CONFLICT, f"{tenant_id} is suspended: `keyferry tenants update {tenant_id} --resume` ends that"
        )
    if (off := switch.why_off(tenant)) is not None:
        raise RequestRejected(ErrorCode.CONFLICT, off)
    if tiers.keys_per_provider(tenant.tier) == 0:
        raise RequestRejected(
            ErrorCode.CONFLICT,
            f"the tier {tenant.tier} has no provider keys of its own: {upgrade_to(tenant, tiers.lowest_with_keys(0))}",
        )


def keys_per_provider(tenant_id: str, tenant: Tenant | None, tiers: Tiers) -> int | None:
    """Return how many keys of one provider the tenant may have; null is any number."""
    return None if tenant_id == PLATFORM_TENANT or tenant is None else tiers.keys_per_provider(tenant.tier)


def check_quota(
    tenant_id: str, tenant: Tenant | None, provider: str, stored: Iterable[ProviderKey], tiers: Tiers
) -> None:
    """Check that the tenant may have one more key of `provider` beside `stored`. Raises RequestRejected."""
    limit = keys_per_provider(tenant_id, tenant, tiers)
    present = [key for key in stored if key.provider == provider]
    if tenant is not None and limit is not None and len(present) >= limit:
        named = ", ".join(f"{key.key_id} ({key.label})" for key in present)
        raise RequestRejected(
            ErrorCode.CONFLICT,
            f"the tier {tenant.tier} has {limit} key{'' if limit == 1 else 's'} per provider, and {tenant_id} has"
            f" {len(present)} for {PROVIDERS.describe(provider).title}: {named}. Rotate a key, remove one, or"
            f" {upgrade_to(tenant, tiers.lowest_with_keys(limit))}",
        )
