"""The users of the bus: one for each process role, worker slot and internal client, and where each is answered."""

from collections.abc import Iterable

from keyferry.contracts.channels import Role
from keyferry.contracts.ids import is_tenant_id

INGRESS_INBOX = "_INBOX_ingress"
CALLER_INBOX = "_INBOX_c"
"""Inboxes of everybody who calls over the bus: the command line and internal services."""
FRAME_INBOXES = (f"{INGRESS_INBOX}.", f"{CALLER_INBOX}.")


def worker_id(slot: int) -> str:
    """The stable name of a worker slot; also its NATS user."""
    return f"{Role.PROVIDER_WORKER}-{slot}"


def internal_client(tenant: str, name: str) -> str:
    """The NATS user of a tenant's program `name`. The dots part it beyond doubt: neither may hold one.

    Raises ValueError for a tenant or a name that is none.
    """
    if not (is_tenant_id(tenant) and is_tenant_id(name)):
        raise ValueError(f"{tenant!r} and {name!r} cannot name a client: want 1 to 63 of a-z 0-9 - for each")
    return f"{Role.INTERNAL_CLIENT}.{tenant}.{name}"


def tenant_of(user: str) -> str | None:
    """The one tenant that a NATS user is bound to, if it is. Raises ValueError as `internal_client`."""
    role, *rest = user.split(".")
    if role != Role.INTERNAL_CLIENT:
        return None
    internal_client(*(rest if len(rest) == 2 else ("", "")))
    return rest[0]


def role_of(user: str) -> Role:
    """The role of a NATS user. Raises ValueError for a name that is no user's."""
    if "." in user and tenant_of(user) is not None:
        return Role.INTERNAL_CLIENT
    name, _, slot = user.rpartition("-")
    return Role(name) if slot.isdigit() else Role(user)


def users(worker_slots: int, internal_clients: Iterable[str] = ()) -> list[str]:
    """Every NATS user of an installation with so many worker slots and these internal clients."""
    workers = [worker_id(slot) for slot in range(1, worker_slots + 1)]
    many = (Role.PROVIDER_WORKER, Role.INTERNAL_CLIENT)
    return [role.value for role in Role if role not in many] + workers + list(internal_clients)


def inbox_prefix(user: str) -> str:
    """What every inbox of this user starts with, without the trailing dot."""
    role = role_of(user)
    if role is Role.INGRESS:
        return INGRESS_INBOX
    if role in (Role.OPERATOR, Role.INTERNAL_CLIENT):
        return f"{CALLER_INBOX}.{user}"
    return f"_INBOX_{user}"
