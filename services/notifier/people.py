"""Who is a member of which tenant, and in which time zone tenants are: from views, so that nothing waits for another service."""

from collections.abc import Collection

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.membership import Member, MemberState
from keyferry.contracts.tenancy import DEFAULT_TIME_ZONE, Tenant
from keyferry.contracts.zone import is_zone
from keyferry.runtime.views import KvView


class People:
    """Reads the views of members and tenants."""

    def __init__(self, members: KvView[Member], tenants: KvView[Tenant]) -> None:
        self._tenants = tenants
        self._by_tenant: dict[str, list[Member]] = {}
        members.on_owner_change(self._update)

    def _update(self, tenant: str, members: Collection[Member]) -> None:
        found = [member for member in members if member.state is MemberState.ACTIVE]
        if found:
            self._by_tenant[tenant] = found
        else:
            self._by_tenant.pop(tenant, None)

    def addresses(self, tenant: str) -> frozenset[str]:
        """Return the addresses of a tenant's active members."""
        return frozenset(member.email for member in self._by_tenant.get(tenant, ()) if member.email is not None)

    def owner_addresses(self, tenant: str) -> list[str]:
        """Return the addresses of a tenant's active owners, in alphabetical order."""
        return sorted(
            member.email
            for member in self._by_tenant.get(tenant, ())
            if member.role is AccessRole.OWNER and member.email is not None
        )

    def time_zone(self, tenant: str) -> str:
        """Return the zone that a tenant's pages count days by."""
        found = self._tenants.get(tenant)
        zone = found.time_zone if found is not None else DEFAULT_TIME_ZONE
        return zone if is_zone(zone) else DEFAULT_TIME_ZONE

    def is_active(self, tenant: str) -> bool:
        """Return whether a tenant may be notified: it exists, and is not deleted."""
        found = self._tenants.get(tenant)
        return found is not None and found.deleted_at is None
