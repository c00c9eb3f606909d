"""Authentication: who a request is from, and what for; the operator's token is compared here. Pure."""

from dataclasses import dataclass

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.membership import Member
from keyferry.contracts.secret import Secret
from keyferry.contracts.sessions import Session
from keyferry.contracts.tenancy import PLATFORM_TENANT


class InvalidCredential(Exception):
    """The credential is missing or unknown; the message is for the client."""


@dataclass(frozen=True, slots=True)
class OwnSession:
    """The session that a request belongs to."""

    session: Session
    token: Secret
    memberships: tuple[Member, ...]
    """What the person may act for, sorted by tenant."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated client. `tenant` is the one that it acts for, and `role` its role there."""

    role: AccessRole
    tenant: str
    actor: str
    """The name in the audit log."""
    member: str | None = None
    """The member of `tenant` that it is; None for an operator."""
    operates: bool = False
    """Whether it also operates the installation."""
    login: OwnSession | None = None
    """The session, for somebody who has signed in."""
    no_tenant: str | None = None
    """Why it can act for no tenant now, and what to do; None if it can."""
    unknown_tenant: bool = False
    """Whether it has named a tenant that it is no member of."""
    suspended: bool = False
    """Whether `tenant` is suspended: its members may neither read nor change anything of it."""
    step_up: str | None = None
    """The challenge (WWW-Authenticate) for what needs a stronger or fresher sign-in; None if this one suffices."""
    teams: tuple[str, ...] = ()
    """The teams of `tenant` that the member is in."""


OPERATOR = Principal(AccessRole.OPERATOR, PLATFORM_TENANT, "console:operator", operates=True)


def read_bearer(authorization: str) -> str:
    """Return the credential in a header value. Raises InvalidCredential, which never repeats the value."""
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        raise InvalidCredential(
            "the Authorization header must read `Bearer` and a session token, an access token or the operator's token"
        )
    return text


def identify(authorization: str | None, operator_token: Secret) -> Principal:
    """Return the operator, if a header value has their token. Raises InvalidCredential, which never repeats the value.

    Secrets are compared in constant time.
    """
    if not authorization:
        raise InvalidCredential("no credential: send `Authorization: Bearer` and the operator's token, or sign in")
    if Secret(read_bearer(authorization)) != operator_token:
        raise InvalidCredential(
            "the operator's token is not accepted: was it copied completely, and is it this installation's?"
        )
    return OPERATOR


def choose_membership(memberships: tuple[Member, ...], named: str | None, chosen: str | None) -> Member | None:
    """Return the membership that a request acts in: the one it names, the session's choice, or the only one."""
    if named is not None:
        return next((member for member in memberships if member.tenant == named), None)
    found = next((member for member in memberships if member.tenant == chosen), None)
    return found or (memberships[0] if len(memberships) == 1 else None)
