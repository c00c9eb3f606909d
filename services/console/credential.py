"""Who asks: from an Authorization header to a caller and its own tenant. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT


class Credential(StrEnum):
    """The kinds of credentials that callers show."""

    OPERATOR = "operator"


class Unauthenticated(Exception):
    """The caller is not known; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody known. `tenant` is the credential's own; `actor` is what the audit calls the caller."""

    credential: Credential
    tenant: str
    actor: str


OPERATOR = Caller(Credential.OPERATOR, PLATFORM_TENANT, "console:operator")


def identify(authorization: str | None, operator_token: Secret) -> Caller:
    """The caller behind a header value. Raises Unauthenticated, whose message repeats nothing of it.

    Secrets compare in constant time.
    """
    if not authorization:
        raise Unauthenticated("no credential: send `Authorization: Bearer` and the operator's token")
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        raise Unauthenticated("the Authorization header must read `Bearer` and the operator's token")
    if Secret(text) != operator_token:
        raise Unauthenticated("the operator's token is not accepted; is it copied whole, and of this installation?")
    return OPERATOR
