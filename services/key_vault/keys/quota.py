"""Which tenants may have keys of their own, and how many: the BYOK switch and the tiers. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from keyferry.contracts.key import ProviderKey
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import KEYS_PER_PROVIDER, PLATFORM_TENANT, Tenant, Tier
from services.key_vault.database.errors import RequestRejected

_UNLIMITED = Tier.PROFESSIONAL


@dataclass(frozen=True, slots=True)
class ByokSwitch:
    """Whether tenants may use keys of their own; `tenants` are those that may, null for all."""

    enabled: bool = True
    tenants: frozenset[str] | None = None


def check_byok_allowed(tenant_id: str, tenant: Tenant | None, switch: ByokSwitch) -> None:
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
    if not switch.enabled or (switch.tenants is not None and tenant_id not in switch.tenants):
        raise RequestRejected(
            ErrorCode.CONFLICT,
            f"tenants' own provider keys are switched off for {tenant_id}: the operator switches them on with"
            " KEYFERRY_BYOK_ENABLED and KEYFERRY_BYOK_TENANTS",
        )
    if KEYS_PER_PROVIDER[tenant.tier] == 0:
        raise RequestRejected(
            ErrorCode.CONFLICT,
            f"the tier {tenant.tier} has no provider keys of its own: upgrade {tenant_id} to {Tier.STARTER} (one key per"
            f" provider) or {_UNLIMITED} (any number): `keyferry tenants update {tenant_id} --tier {Tier.STARTER}`",
        )


def keys_per_provider(tenant_id: str, tenant: Tenant | None) -> int | None:
    """Return how many keys of one provider the tenant may have; null is any number."""
    return None if tenant_id == PLATFORM_TENANT or tenant is None else KEYS_PER_PROVIDER[tenant.tier]


def check_quota(tenant_id: str, tenant: Tenant | None, provider: str, stored: Iterable[ProviderKey]) -> None:
    """Check that the tenant may have one more key of `provider` beside `stored`. Raises RequestRejected."""
    limit = keys_per_provider(tenant_id, tenant)
    present = [key for key in stored if key.provider == provider]
    if tenant is not None and limit is not None and len(present) >= limit:
        named = ", ".join(f"{key.key_id} ({key.label})" for key in present)
        raise RequestRejected(
            ErrorCode.CONFLICT,
            f"the tier {tenant.tier} has {limit} key per provider, and {tenant_id} has one for {PROVIDERS[provider].title}:"
            f" {named}. Rotate that key, remove it, or upgrade to {_UNLIMITED} for any number",
        )
