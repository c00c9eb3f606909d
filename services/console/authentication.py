"""Authentication: from an Authorization header to a principal and its own tenant. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT


class CredentialKind(StrEnum):
    """The kinds of credentials."""

    OPERATOR = "operator"


class InvalidCredential(Exception):
    """The credential is missing or unknown; the message is for the client."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated client. `tenant` is the credential's own; `actor` is the name in the audit log."""

    credential: CredentialKind
    tenant: str
    actor: str


OPERATOR = Principal(CredentialKind.OPERATOR, PLATFORM_TENANT, "console:operator")


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
