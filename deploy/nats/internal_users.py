"""The NATS users of tenants' own programs: which internal services become users of the server. Pure."""

from collections.abc import Iterable, Mapping

from keyferry.contracts.internal_services import InternalService
from keyferry.contracts.topology import internal_client


def internal_users(
    services: Iterable[InternalService], others: Mapping[str, str], first: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return the public nkeys of the programs' users by name, and the users that are left out.

    `others` are the users of the installation itself. A service with the nkey of another user is left out, because the server
    refuses a configuration that names a key twice. `first` are users that the launcher makes before there is a directory: each
    counts until the directory lists a service of that name, or has revoked its key.
    """
    listed = list(services)
    revoked = {service.nkey_public for service in listed if service.revoked_at is not None}
    found = {user: nkey for user, nkey in first.items() if nkey not in revoked}
    for service in listed:
        if service.revoked_at is None:
            found[internal_client(service.tenant, service.name)] = service.nkey_public
    taken, accepted, left_out = set(others.values()), {}, []
    for user, nkey in found.items():
        if nkey in taken:
            left_out.append(user)
        else:
            taken.add(nkey)
            accepted[user] = nkey
    return accepted, left_out
