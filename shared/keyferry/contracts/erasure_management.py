"""The subjects by which a tenant is deleted: the part of `topology` about it.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from keyferry.contracts import erasure
from keyferry.contracts.channels import AnySubject, Role, Subject, manage, request

_DIRECTORY = Role.TENANT_DIRECTORY


def _erase(service: Role) -> Subject[erasure.EraseTenant, erasure.ErasedTenant]:
    return request(
        f"kf.v1.tenant.erase_in_{service.value.replace('-', '_')}",
        erasure.EraseTenant,
        erasure.ErasedTenant,
        publishers=(_DIRECTORY,),
        subscribers=(service,),
        queue=service.value,
        summary="The directory has a service remove what it has of a tenant that is being deleted.",
    )


TENANT_DELETE = manage(
    "kf.v1.tenant.delete",
    erasure.DeleteTenant,
    erasure.TenantDeletion,
    _DIRECTORY,
    "Suspend a tenant and delete it for good.",
)
TENANT_DELETION_GET = manage(
    "kf.v1.tenant_deletion.get",
    erasure.GetDeletion,
    erasure.TenantDeletion,
    _DIRECTORY,
    "Return what a tenant's deletion has removed and kept.",
)
TENANT_ERASE_ROUTER = _erase(Role.ROUTER)
TENANT_ERASE_VAULT = _erase(Role.KEY_VAULT)
TENANT_ERASE_BILLING = _erase(Role.BILLING)
TENANT_ERASE_NOTIFIER = _erase(Role.NOTIFIER)
TENANT_ERASE_LEDGER = _erase(Role.USAGE_LEDGER)
ERASERS = {
    subject.subscribers[0]: subject
    for subject in (
        TENANT_ERASE_ROUTER,
        TENANT_ERASE_BILLING,
        TENANT_ERASE_NOTIFIER,
        TENANT_ERASE_VAULT,
        TENANT_ERASE_LEDGER,
    )
}
"""The services that have something of tenants besides the directory, in the order in which they are asked."""
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
