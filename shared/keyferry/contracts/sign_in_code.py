"""Codes of the built-in login: who has the installation's login key makes one, and the console exchanges it for a session, once.

A code is `kfc_` and two parts of base64url, separated by a dot: who signs in, until when, and an HMAC under the login key.
"""

import base64
import hashlib
import hmac
import re
import secrets
from binascii import Error as NotBase64

from pydantic import Field

from keyferry.contracts.envelope import Command, MalformedMessage
from keyferry.contracts.ids import TenantId
from keyferry.contracts.membership import TenantRole
from keyferry.contracts.own_credentials import SIGN_IN_CODE_PREFIX
from keyferry.contracts.secret import Secret
from keyferry.contracts.sessions import Email, PersonName
from keyferry.contracts.text import BIGINT_MAX

CODE_SECONDS = 300
"""How long a code can be exchanged that somebody has asked for."""
START_CODE_SECONDS = 3600
"""How long the code can be exchanged that `make up` prints: people may come back to its terminal later."""
_MAX_CHARACTERS = 4096
_CONTEXT = b"keyferry/sign-in-code/v1\x00"
_FORM = re.compile(rf"{SIGN_IN_CODE_PREFIX}([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{{43}})", re.ASCII)
_NONCE_BYTES = 16


class InvalidCode(Exception):
    """The code is not accepted; the message is for people and repeats nothing of it."""


class ExpiredCode(InvalidCode):
    """The code was one of this installation."""


class SignInClaims(Command):
    """What a code says."""

    email: Email
    name: PersonName
    tenant: TenantId | None = None
    role: TenantRole | None = None
    operator: bool = False
    expires_at: int = Field(ge=0, le=BIGINT_MAX)
    """Seconds since 1970."""
    nonce: str = Field(min_length=16, max_length=64)
    """Makes each code another one."""


def mint(
    key: Secret,
    *,
    email: str,
    tenant: str | None,
    role: TenantRole | None,
    operator: bool,
    now_seconds: float,
    lifetime_seconds: int = CODE_SECONDS,
) -> Secret:
    """Return a code for somebody. Raises pydantic's ValidationError for what cannot be a person or a tenant."""
    claims = SignInClaims(
        email=email,
        name=email.partition("@")[0][:100] or email,
        tenant=tenant,
        role=role,
        operator=operator,
        expires_at=int(now_seconds) + lifetime_seconds,
        nonce=secrets.token_urlsafe(_NONCE_BYTES),
    )
    said = _encode(claims.encode())
    return Secret(f"{SIGN_IN_CODE_PREFIX}{said}.{_encode(_sign(key, said))}")


def read(code: str, key: Secret, now_seconds: float) -> SignInClaims:
    """Return what a code says. Raises InvalidCode unless the login key has signed it, and ExpiredCode after its time."""
    found = _FORM.fullmatch(code) if len(code) <= _MAX_CHARACTERS else None
    if found is None:
        raise InvalidCode("this is no sign-in code, or not all of it: run `keyferry login` again")
    if not hmac.compare_digest(_encode(_sign(key, found[1])), found[2]):
        raise InvalidCode("this sign-in code is of another installation: was it made with this one's login key?")
    try:
        claims = SignInClaims.decode(base64.urlsafe_b64decode(found[1] + "=" * (-len(found[1]) % 4)))
    except (NotBase64, MalformedMessage):
        raise InvalidCode("this sign-in code cannot be read: it is of another version of `keyferry`") from None
    if now_seconds >= claims.expires_at:
        raise ExpiredCode("this sign-in code has expired: run `keyferry login` again, or `make console` for a browser")
    return claims


def digest(code: str) -> str:
    """Return the SHA-256 of a code as 64 hex digits, by which the directory knows that it was used."""
    return hashlib.sha256(code.encode()).hexdigest()


def _sign(key: Secret, said: str) -> bytes:
    return hmac.digest(key.reveal().encode(), _CONTEXT + said.encode(), hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
