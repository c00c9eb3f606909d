"""The NATS users: one per process role, worker slot and internal client, and their inboxes. Pure."""

from collections.abc import Iterable

from keyferry.contracts.channels import Role
from keyferry.contracts.ids import is_tenant_id
from keyferry.contracts.text import parse_digits

INGRESS_INBOX = "_INBOX_ingress"
CALLER_INBOX = "_INBOX_c"
"""Prefix of the inboxes of the command line and of internal clients."""
FRAME_INBOXES = (f"{INGRESS_INBOX}.", f"{CALLER_INBOX}.")


def worker_id(slot: int) -> str:
    """Return the stable name of a worker slot, which is also its NATS user."""
    return f"{Role.PROVIDER_WORKER}-{slot}"


def internal_client(tenant: str, name: str) -> str:
    """Return the NATS user of a tenant's program `name`. The dots are unambiguous: neither part may contain one.

    Raises ValueError for an invalid tenant or name.
    """
    if not (is_tenant_id(tenant) and is_tenant_id(name)):
        raise ValueError(f"{tenant!r} and {name!r} cannot name a client: want 1 to 63 of a-z 0-9 - for each")
    return f"{Role.INTERNAL_CLIENT}.{tenant}.{name}"


def tenant_of(user: str) -> str | None:
    """Return the tenant to which a NATS user is bound, if any. Raises ValueError as `internal_client` does."""
    role, *rest = user.split(".")
    if role != Role.INTERNAL_CLIENT:
        return None
    internal_client(*(rest if len(rest) == 2 else ("", "")))
    return rest[0]


def role_of(user: str) -> Role:
    """Return the role of a NATS user. Raises ValueError for an unknown user."""
    if "." in user and tenant_of(user) is not None:
        return Role.INTERNAL_CLIENT
    name, _, slot = user.rpartition("-")
    return Role(user) if parse_digits(slot) is None else Role(name)


def users(worker_slots: int, internal_clients: Iterable[str] = ()) -> list[str]:
    """Return every NATS user of an installation with these worker slots and internal clients."""
    workers = [worker_id(slot) for slot in range(1, worker_slots + 1)]
    many = (Role.PROVIDER_WORKER, Role.INTERNAL_CLIENT)
    return [role.value for role in Role if role not in many] + workers + list(internal_clients)


def inbox_prefix(user: str) -> str:
    """Return the prefix of every inbox of a user, without the trailing dot."""
    role = role_of(user)
    if role is Role.INGRESS:
        return INGRESS_INBOX
    if role in (Role.OPERATOR, Role.INTERNAL_CLIENT):
        return f"{CALLER_INBOX}.{user}"
    return f"_INBOX_{user}"
