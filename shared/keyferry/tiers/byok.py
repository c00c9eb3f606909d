"""The switch of tenants' own provider keys: of the installation, and of each tenant. Pure."""

from dataclasses import dataclass

from keyferry.contracts.tenancy import PLATFORM_TENANT, ByokUse, Tenant


@dataclass(frozen=True, slots=True)
class ByokSwitch:
    """Whether tenants may use keys of their own: the settings of the vault and the routers, which are the same.

    `tenants` are those that may by default, None for all. A tenant's own setting takes precedence over that list, but not over
    `enabled`.
    """

    enabled: bool = True
    tenants: frozenset[str] | None = None

    def why_off(self, tenant: Tenant) -> str | None:
        """Return why a tenant's own keys are not used, and what to do; None if they are."""
        name = tenant.tenant
        if name == PLATFORM_TENANT:
            return None
        off = f"tenants' own provider keys are switched off for {name}"
        if not self.enabled:
            return f"{off}, as for every tenant of this installation: the operator switches them on with KEYFERRY_BYOK_ENABLED"
        if tenant.byok is ByokUse.OFF:
            return f"{off}: the operator switches them on with `keyferry tenants set {name} --byok on`"
        if tenant.byok is ByokUse.DEFAULT and self.tenants is not None and name not in self.tenants:
            return (
                f"{off}: the operator switches them on with `keyferry tenants set {name} --byok on`, or adds it to"
                " KEYFERRY_BYOK_TENANTS"
            )
        return None
