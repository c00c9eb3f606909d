"""Authentication: from an Authorization header to a principal and its own tenant. Pure."""

from dataclasses import dataclass

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT


class InvalidCredential(Exception):
    """The credential is missing or unknown; the message is for the client."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated client. `tenant` is the one that it acts for, and `role` its role there."""

    role: AccessRole
    tenant: str
    actor: str
    """The name in the audit log."""
    member: str | None = None
    """The member of `tenant` that it is; None for an operator."""


OPERATOR = Principal(AccessRole.OPERATOR, PLATFORM_TENANT, "console:operator")


def identify(authorization: str | None, operator_token: Secret) -> Principal:
    """Return the principal behind a header value. Raises InvalidCredential, which never repeats the value.

    Secrets are compared in constant time.
    """
    if not authorization:
        raise InvalidCredential("no credential: send `Authorization: Bearer` and the operator's token")
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        raise InvalidCredential("the Authorization header must read `Bearer` and the operator's token")
    if Secret(text) != operator_token:
        raise InvalidCredential(
            "the operator's token is not accepted: was it copied completely, and is it this installation's?"
        )
    return OPERATOR
