"""Authentication: from an Authorization header to a tenant, by lookups in this process's copy of the directory. Pure."""

from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import datetime

from keyferry.contracts import client_token
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import ClientToken, Tenant

TokenLookup = Callable[[str], ClientToken | None]
"""Finds a client token by its fingerprint."""
TenantLookup = Callable[[str], Tenant | None]


class Unauthenticated(Exception):
    """The caller is unknown; the message is for the caller."""


class UnreadableTenant(Exception):
    """The caller is known, but what the gateway knows about its tenant cannot be read."""


class Suspended(Exception):
    """The caller is known, but its tenant may not use the gateway now."""


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """An authenticated caller."""

    tenant: Tenant
    token: ClientToken


def identify(
    authorization: str | None,
    *,
    tokens: TokenLookup,
    tenants: TenantLookup,
    pepper: Secret,
    now: datetime,
    unreadable: Container[str] = (),
) -> ClientIdentity:
    """Return the caller behind a header value; `unreadable` are tenants that `tenants` cannot read.

    Raises Unauthenticated, UnreadableTenant and Suspended.

    The checksum is verified first: it finds typing errors without a lookup, and garbage costs no more than a CRC.
    """
    token = tokens(client_token.fingerprint(client_token.digest(_read(authorization)), pepper))
    if token is None:
        raise Unauthenticated("the client token is not known here")
    _check_state(token, now)
    tenant = tenants(token.tenant)
    if tenant is None and token.tenant in unreadable:
        raise UnreadableTenant(
            f"the gateway cannot read its data about the tenant {token.tenant}; ask the operator of this gateway"
        )
    if tenant is None:
        raise Unauthenticated("the client token's tenant is not known here")
    if tenant.suspended:
        raise Suspended(f"the tenant {tenant.tenant} is suspended; ask the operator of this gateway")
    return ClientIdentity(tenant, token)


def _read(authorization: str | None) -> str:
    """Return the token in a header value. Raises Unauthenticated, also for a wrong checksum."""
    if not authorization:
        raise Unauthenticated("no client token: send `Authorization: Bearer kf_live_…` or `x-api-key: kf_live_…`")
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        raise Unauthenticated("the Authorization header must read `Bearer kf_live_…`")
    if not client_token.is_well_formed(text):
        raise Unauthenticated(
            "that is not a Keyferry client token (its form or checksum is wrong); was it copied completely?"
        )
    return text


def _check_state(token: ClientToken, now: datetime) -> None:
    """Raise Unauthenticated unless the token is accepted at `now`."""
    if token.revoked_at is not None:
        raise Unauthenticated("the client token has been revoked; ask your administrator for a new one")
    if token.disabled_at is not None:
        raise Unauthenticated("the client token is disabled; ask your administrator to enable it")
    if token.expires_at is not None and token.expires_at <= now:
        raise Unauthenticated(f"the client token expired at {token.expires_at.isoformat(timespec='seconds')}")
    if token.secret_valid_until is not None and token.secret_valid_until <= now:
        until = token.secret_valid_until.isoformat(timespec="seconds")
        raise Unauthenticated(f"the client token was rotated, and this secret of it ended at {until}; use the new one")
