"""The public keys with which an identity provider signs (RFC 7517), reduced to those that a token may be verified with. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from keyferry.contracts.text import is_safe

ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""What a token may be signed with. Never an HMAC, whose key would be the public key, and never `none`."""

_MAX_KEYS = 64
MAX_KID_CHARACTERS = 256
_SHORTEST_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One public key, the algorithm that it is for, and its id at the provider."""

    kid: str | None
    algorithm: str
    key: Key


def read_keys(document: Mapping[str, object]) -> tuple[SigningKey, ...]:
    """Return the keys of a JWK Set that verify signatures of `ALGORITHMS`; others, such as keys for encryption, are left out.

    Raises ValueError if `document` is no JWK Set.
    """
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise ValueError("the provider's list of keys has no `keys`")
    found = (_read_key(entry) for entry in listed[:_MAX_KEYS])
    return tuple(key for key in found if key is not None)


def _read_key(entry: object) -> SigningKey | None:
    """Return the key of one entry; None for what is no public key for signatures, as a set may hold keys of any kind."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    kid, operations = entry.get("kid"), entry.get("key_ops", ["verify"])
    if kid is not None and not is_kid(kid):
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    public: dict[str, Any] = {
        name: entry[name] for name in ("kty", "n", "e", "crv", "x", "y") if isinstance(entry.get(name), str)
    }
    try:
        key = JWKRegistry.import_key(public)
    except (JoseError, ValueError, KeyError, TypeError):
        return None
    algorithm = _algorithm_for(key)
    if algorithm is None or entry.get("alg", algorithm) not in (algorithm, _ALIASES.get(algorithm)):
        return None
    return SigningKey(kid, algorithm, key)


_ALIASES = {"EdDSA": "Ed25519"}
"""RFC 9864 names the curve in the algorithm; tokens of either name are signed alike."""


def is_kid(value: object) -> bool:
    """Return whether `value` can be the id of a key: a short text on one line."""
    return isinstance(value, str) and 0 < len(value) <= MAX_KID_CHARACTERS and is_safe(value)


def _algorithm_for(key: object) -> str | None:
    if isinstance(key, RSAKey):
        return "RS256" if key.raw_value.key_size >= _SHORTEST_RSA_BITS else None
    if isinstance(key, ECKey):
        return "ES256" if key.curve_name == "P-256" else None
    if isinstance(key, OKPKey):
        return "EdDSA" if key.curve_name == "Ed25519" else None
    return None
