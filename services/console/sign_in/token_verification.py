"""Verifies a JSON Web Token of the configured issuer (RFC 7519, RFC 8725, OpenID Connect Core 3.1.3.7). Pure."""

import re
import warnings
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jws import JWSRegistry, deserialize_compact

from keyferry.contracts.text import is_safe
from services.console.sign_in.signing_keys import ALGORITHMS, SigningKey, is_kid
from services.console.sign_in.strict_json import NotStrictJson, parse_object

MAX_TOKEN_CHARACTERS = 16_384
LEEWAY_SECONDS = 60
"""How far the clocks of the provider and the console may be apart."""
_MAX_SUBJECT_CHARACTERS = 255
_MAX_AUDIENCES = 64
_LAST_SECOND = 253_402_300_800
"""The year 10000: no time lies behind it."""

_PART = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_REFUSED_HEADERS = ("crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc", "cty", "epk")
"""Each would have the token itself say how it is to be verified, or that it is more than a signed object."""
_LAST_CHARACTERS = {2: "AQgw", 3: "AEIMQUYcgkosw048"}
"""What the last part of base64url ends with, by its length: other characters have bits that decode to nothing."""


class TokenUse(StrEnum):
    """What a token is presented as."""

    ID = "id"
    """Who has signed in, for this console alone."""
    ACCESS = "access"
    """A program's credential for the management API."""


_REGISTRY = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
"""Ignores unknown members of a header, as RFC 7515 requires; those that matter are in `_REFUSED_HEADERS`."""
_MAX_TRIED = 4
"""Keys of one `kid` that are tried: a provider has one of each algorithm."""
_HEADER_TYPES = {TokenUse.ID: ("JWT",), TokenUse.ACCESS: ("JWT", "AT+JWT", "APPLICATION/AT+JWT")}
_CLAIMED_TYPES = {TokenUse.ID: "ID", TokenUse.ACCESS: "Bearer"}
"""Keycloak's own claim `typ`, which distinguishes ID tokens, access tokens, refresh tokens and logout tokens."""


class InvalidToken(Exception):
    """The token is not accepted; the message is for people and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """What a token has to say to be accepted."""

    use: TokenUse
    issuer: str
    audience: str
    """The client id for an ID token, the API's own name for an access token."""
    nonce: str | None = None
    """What the browser's request named; None where there was none."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token whose claims are as they should be, and whose signature is still to be verified."""

    text: str
    algorithm: str
    kid: str | None
    claims: Mapping[str, object]


def read_token(text: str, policy: TokenPolicy, now_seconds: float) -> UnverifiedToken:
    """Read a token and check everything but its signature, so that only a plausible one makes the console fetch keys.

    `now_seconds` is the time since 1970. Raises InvalidToken.
    """
    if len(text) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken(f"the token is longer than {MAX_TOKEN_CHARACTERS} characters")
    parts = text.split(".")
    if len(parts) != 3:
        raise InvalidToken("a token has three parts, separated by dots")
    if not all(parts):
        raise InvalidToken("the token is not signed")
    header, claims = (_read_part(part, name) for part, name in zip(parts, ("header", "claims"), strict=False))
    _decode(parts[2], "signature")
    algorithm, kid = _check_header(header, policy.use)
    _check_issuer(claims, policy)
    _check_audience(claims, policy)
    _check_times(claims, policy.use, now_seconds)
    _check_use(claims, policy)
    return UnverifiedToken(text, algorithm, kid, claims)


def find_keys(token: UnverifiedToken, keys: Collection[SigningKey]) -> Sequence[SigningKey]:
    """Return the keys that may have signed a token: those of its `kid`, or without one the only key of its algorithm."""
    suitable = [key for key in keys if key.algorithm == token.algorithm]
    if token.kid is not None:
        return [key for key in suitable if key.kid == token.kid][:_MAX_TRIED]
    return suitable if len(suitable) == 1 else []


def verify_signature(token: UnverifiedToken, keys: Sequence[SigningKey]) -> Mapping[str, object]:
    """Return the claims of a token that one of `keys` has signed. Raises InvalidToken."""
    for candidate in keys:
        try:
            with warnings.catch_warnings():
                # The library warns of `EdDSA`, a name that may stand for two curves: here it stands for Ed25519 only.
                warnings.simplefilter("ignore", SecurityWarning)
                verified = deserialize_compact(token.text, candidate.key, [token.algorithm], _REGISTRY)
        except (JoseError, ValueError):
            continue
        if verified.headers().get("alg") == token.algorithm:
            return token.claims
    raise InvalidToken(
        "the token's signature is not that of a key of the issuer" if keys else "the issuer has no such key"
    )


def _read_part(part: str, name: str) -> Mapping[str, object]:
    try:
        return parse_object(_decode(part, name))
    except NotStrictJson as error:
        raise InvalidToken(f"the token's {name} cannot be read: {error}") from None


def _decode(part: str, name: str) -> bytes:
    """Decode base64url without padding. Raises InvalidToken also for a spelling that is not the only one of its bytes."""
    rest = len(part) % 4
    if not _PART.fullmatch(part) or rest == 1 or (rest and part[-1] not in _LAST_CHARACTERS[rest]):
        raise InvalidToken(f"the token's {name} is not base64url")
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except NotBase64:
        raise InvalidToken(f"the token's {name} is not base64url") from None


def _check_header(header: Mapping[str, object], use: TokenUse) -> tuple[str, str | None]:
    for name in _REFUSED_HEADERS:
        if name in header:
            raise InvalidToken(f"the token's header has `{name}`, which is not accepted")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidToken(f"the token must be signed with one of {', '.join(ALGORITHMS)}")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.upper() not in _HEADER_TYPES[use]:
        raise InvalidToken("the token is of another type than what it is presented as")
    kid = header.get("kid")
    if kid is None and "kid" not in header:
        return algorithm, None
    if not isinstance(kid, str) or not is_kid(kid):
        raise InvalidToken("the token's `kid` is no text on one line")
    return algorithm, kid


def _check_issuer(claims: Mapping[str, object], policy: TokenPolicy) -> None:
    if claims.get("iss") != policy.issuer:
        raise InvalidToken("the token is of another issuer")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT_CHARACTERS or not is_safe(subject):
        raise InvalidToken("the token names nobody: `sub` must be a text on one line")


def _check_audience(claims: Mapping[str, object], policy: TokenPolicy) -> None:
    """Check for whom the token is, and for an ID token which client asked for it (OpenID Connect Core 3.1.3.7, 3 to 5)."""
    named = claims.get("aud")
    audiences = [named] if isinstance(named, str) else named
    if (
        not isinstance(audiences, list)
        or not 0 < len(audiences) <= _MAX_AUDIENCES
        or not all(isinstance(audience, str) for audience in audiences)
        or policy.audience not in audiences
    ):
        raise InvalidToken("the token is for another audience")
    if policy.use is not TokenUse.ID:
        return
    if len(audiences) > 1 and "azp" not in claims:
        raise InvalidToken("the token is for several audiences and does not say which client asked for it")
    if claims.get("azp", policy.audience) != policy.audience:
        raise InvalidToken("another client asked for the token")


def _check_times(claims: Mapping[str, object], use: TokenUse, now: float) -> None:
    expires, issued, begins = (_moment(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None or (issued is None and use is TokenUse.ID):
        raise InvalidToken("the token does not say from when until when it is valid")
    if now >= expires + LEEWAY_SECONDS:
        raise InvalidToken("the token has expired")
    if begins is not None and now < begins - LEEWAY_SECONDS:
        raise InvalidToken("the token is not valid yet")
    if issued is not None and now < issued - LEEWAY_SECONDS:
        raise InvalidToken("the token was issued in the future: compare the clocks of both machines")


def _moment(claims: Mapping[str, object], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_SECOND:
        raise InvalidToken(f"the token's `{name}` is no time")
    return float(value)


def _check_use(claims: Mapping[str, object], policy: TokenPolicy) -> None:
    kind = claims.get("typ", _CLAIMED_TYPES[policy.use])
    if kind != _CLAIMED_TYPES[policy.use] or "events" in claims:
        raise InvalidToken("the token is of another type than what it is presented as")
    if policy.nonce is not None and claims.get("nonce") != policy.nonce:
        raise InvalidToken("the token answers another request to sign in")
    if "cnf" in claims:
        raise InvalidToken("the token is bound to a key of its owner (`cnf`), which the console cannot check")
