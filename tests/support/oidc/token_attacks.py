"""Forged, stolen and malformed tokens by name: each differs from a good one in one thing, which must make it unacceptable."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from joserfc.jwk import Key, OKPKey, RSAKey

from tests.support.oidc.provider_double import ProviderDouble, as_json, new_key

Claims = dict[str, Any]
Attack = Callable[[ProviderDouble, Claims], str]


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_raw(key: Key, header: bytes, payload: bytes) -> str:
    """Sign any bytes as RS256."""
    signed = f"{encode(header)}.{encode(payload)}"
    assert isinstance(key, RSAKey)
    private = key.private_key
    assert isinstance(private, RSAPrivateKey)
    return f"{signed}.{encode(private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def good_header(double: ProviderDouble, **changes: Any) -> bytes:
    """Return the header of a good token, changed."""
    return as_json({"alg": "RS256", "kid": double.signing.kid, "typ": "JWT"} | changes)


def with_header(**changes: Any) -> Attack:
    return lambda double, claims: sign_raw(double.signing, good_header(double, **changes), as_json(claims))


def without_header(name: str, **changes: Any) -> Attack:
    def attack(double: ProviderDouble, claims: Claims) -> str:
        header = json.loads(good_header(double, **changes))
        del header[name]
        return sign_raw(double.signing, as_json(header), as_json(claims))

    return attack


def with_claims(**changes: Any) -> Attack:
    return lambda double, claims: sign_raw(double.signing, good_header(double), as_json(claims | changes))


def without_claim(name: str) -> Attack:
    def attack(double: ProviderDouble, claims: Claims) -> str:
        return sign_raw(double.signing, good_header(double), as_json({k: v for k, v in claims.items() if k != name}))

    return attack


def shifted(**seconds: float) -> Attack:
    """Return a token whose times are so many seconds from now."""
    return lambda double, claims: with_claims(**{k: int(time.time() + v) for k, v in seconds.items()})(double, claims)


def unsigned(algorithm: str) -> Attack:
    def attack(double: ProviderDouble, claims: Claims) -> str:
        return f"{encode(good_header(double, alg=algorithm))}.{encode(as_json(claims))}."

    return attack


def without_signature_but_signed_header(double: ProviderDouble, claims: Claims) -> str:
    return with_claims()(double, claims).rpartition(".")[0] + "."


def with_hmac(key_bytes: Callable[[Key], bytes]) -> Attack:
    """Return a token signed with HMAC under the provider's public key."""

    def attack(double: ProviderDouble, claims: Claims) -> str:
        signed = f"{encode(good_header(double, alg='HS256'))}.{encode(as_json(claims))}"
        mac = hmac.digest(key_bytes(double.signing), signed.encode(), hashlib.sha256)
        return f"{signed}.{encode(mac)}"

    return attack


def _public_pem(key: Key) -> bytes:
    assert isinstance(key, RSAKey)
    return key.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _public_jwk(key: Key) -> bytes:
    return as_json(key.as_dict(private=False))


def from_own_key(**header: Any) -> Attack:
    """Return a token signed by a key of the attacker's own; `header` may say where that key is."""

    def attack(double: ProviderDouble, claims: Claims) -> str:
        own = new_key("RS256", str(double.signing.kid), owner="attacker")
        named = {k: (own.as_dict(private=False) if v == "own" else v) for k, v in header.items()}
        return sign_raw(own, good_header(double, **named), as_json(claims))

    return attack


def from_withdrawn_key(double: ProviderDouble, claims: Claims) -> str:
    old = new_key("RS256", "withdrawn", owner="attacker")
    return sign_raw(old, good_header(double, kid="withdrawn"), as_json(claims))


def with_flipped(part: int) -> Attack:
    """Return a good token with one character of a part changed."""

    def attack(double: ProviderDouble, claims: Claims) -> str:
        parts = with_claims()(double, claims).split(".")
        middle = len(parts[part]) // 2
        other = "A" if parts[part][middle] != "A" else "B"
        parts[part] = parts[part][:middle] + other + parts[part][middle + 1 :]
        return ".".join(parts)

    return attack


def with_swapped_claims(double: ProviderDouble, claims: Claims) -> str:
    header, _, signature = with_claims()(double, claims).split(".")
    return f"{header}.{encode(as_json(claims | {'sub': 'somebody-else'}))}.{signature}"


def with_payload(change: Callable[[bytes], bytes]) -> Attack:
    return lambda double, claims: sign_raw(double.signing, good_header(double), change(as_json(claims)))


def with_raw_header(change: Callable[[bytes], bytes]) -> Attack:
    return lambda double, claims: sign_raw(double.signing, change(good_header(double)), as_json(claims))


def respelled(double: ProviderDouble, claims: Claims) -> str:
    """Return a good token whose signature ends with other bits that decode to nothing."""
    token = with_claims()(double, claims)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


def as_other_algorithm(double: ProviderDouble, claims: Claims) -> str:
    """Return a token by an Ed25519 key of the attacker's under the `kid` of the provider's RSA key."""
    own = OKPKey.generate_key("Ed25519")
    signed = f"{encode(good_header(double, alg='EdDSA'))}.{encode(as_json(claims))}"
    private: Any = own.private_key
    return f"{signed}.{encode(private.sign(signed.encode()))}"


def as_json_serialization(double: ProviderDouble, claims: Claims) -> str:
    protected, payload, signature = with_claims()(double, claims).split(".")
    return json.dumps({"protected": protected, "payload": payload, "signature": signature}).replace(" ", "")


def duplicated(name: str, other: object) -> Attack:
    """Return a token that has a claim twice, the good one last."""
    return with_payload(lambda payload: b"{" + as_json({name: other})[1:-1] + b"," + payload[1:])


COMMON: Mapping[str, Attack] = {
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "alg NONE": unsigned("NONE"),
    "alg nOnE with the signature of another token": with_header(alg="nOnE"),
    "alg empty": with_header(alg=""),
    "alg missing": without_header("alg"),
    "alg a number": with_header(alg=1),
    "alg a list": with_header(alg=["RS256"]),
    "signature removed": without_signature_but_signed_header,
    "HMAC under the public key as PEM": with_hmac(_public_pem),
    "HMAC under the public key as JWK": with_hmac(_public_jwk),
    "HMAC under an empty key": with_hmac(lambda _: b""),
    "alg HS256 on an RSA signature": with_header(alg="HS256"),
    "alg PS256 on a PKCS1 signature": with_header(alg="PS256"),
    "alg RS512 on a SHA-256 signature": with_header(alg="RS512"),
    "alg ES256 on an RSA signature": with_header(alg="ES256"),
    "Ed25519 key under the kid of the RSA key": as_other_algorithm,
    "key of the attacker under the issuer's kid": from_own_key(),
    "key of the attacker in jwk": from_own_key(jwk="own"),
    "key of the attacker at jku": from_own_key(jku="https://attacker.example/keys"),
    "key of the attacker at x5u": from_own_key(x5u="https://attacker.example/cert"),
    "key of the attacker in x5c": from_own_key(x5c=["MIIB"]),
    "jku although the signature is good": with_header(jku="https://attacker.example/keys"),
    "jwk although the signature is good": with_header(jwk={"kty": "oct", "k": "AA"}),
    "key that the issuer does not have": from_withdrawn_key,
    "kid a path": with_header(kid="../../../dev/null"),
    "kid SQL": with_header(kid="x' UNION SELECT 'k"),
    "kid with NUL": with_header(kid="key-1\x00"),
    "kid with a line break": with_header(kid="key-1\nkey-2"),
    "kid too long": with_header(kid="k" * 10_000),
    "kid a list": with_header(kid=["key-1"]),
    "kid null": with_header(kid=None),
    "crit with an unknown extension": with_header(crit=["exp-only"], **{"exp-only": True}),
    "crit empty": with_header(crit=[]),
    "b64 false": with_header(b64=False, crit=["b64"]),
    "zip": with_header(zip="DEF"),
    "cty JWT": with_header(cty="JWT"),
    "typ of a logout token": with_header(typ="logout+jwt"),
    "typ of a security event": with_header(typ="secevent+jwt"),
    "typ a number": with_header(typ=7),
    "header with alg twice": with_raw_header(lambda header: b'{"alg":"none",' + header[1:]),
    "header no object": with_raw_header(lambda _: b'["RS256"]'),
    "header no JSON": with_raw_header(lambda header: header[:-1]),
    "signature of another text": with_flipped(1),
    "header changed": with_flipped(0),
    "signature changed": with_flipped(2),
    "claims swapped": with_swapped_claims,
    "signature spelled otherwise": respelled,
    "four parts": lambda double, claims: with_claims()(double, claims) + ".AAAA",
    "two parts": lambda double, claims: with_claims()(double, claims).rpartition(".")[0],
    "padding": lambda double, claims: with_claims()(double, claims) + "==",
    "JSON serialization": as_json_serialization,
    "encrypted": with_header(enc="A256GCM"),
    "iss of another realm": lambda double, claims: with_claims(iss=f"{double.base}/realms/other")(double, claims),
    "iss with a slash at the end": lambda double, claims: with_claims(iss=double.issuer + "/")(double, claims),
    "iss in capitals": lambda double, claims: with_claims(iss=double.issuer.upper())(double, claims),
    "iss a list with the right one": lambda double, claims: with_claims(iss=[double.issuer])(double, claims),
    "iss missing": without_claim("iss"),
    "iss twice": duplicated("iss", "https://attacker.example"),
    "sub missing": without_claim("sub"),
    "sub empty": with_claims(sub=""),
    "sub a number": with_claims(sub=7),
    "sub with a line break": with_claims(sub="a\nb"),
    "sub too long": with_claims(sub="s" * 256),
    "aud of another program": with_claims(aud="other"),
    "aud missing": without_claim("aud"),
    "aud an empty list": with_claims(aud=[]),
    "aud a list with a number": lambda double, claims: with_claims(aud=[claims["aud"], 1])(double, claims),
    "aud an object": lambda double, claims: with_claims(aud={"aud": claims["aud"]})(double, claims),
    "aud twice": duplicated("aud", "other"),
    "expired": shifted(exp=-120, iat=-400),
    "exp missing": without_claim("exp"),
    "exp a text": with_claims(exp="2099-01-01"),
    "exp a text of digits": with_claims(exp="9999999999"),
    "exp true": with_claims(exp=True),
    "exp null": with_claims(exp=None),
    "exp negative": with_claims(exp=-1),
    "exp in a million years": with_claims(exp=10**17),
    "exp NaN": with_payload(lambda payload: payload.replace(b'"exp":', b'"exp":NaN,"old":')),
    "exp infinite": with_payload(lambda payload: payload.replace(b'"exp":', b'"exp":1e999,"old":')),
    "exp twice": duplicated("exp", 1),
    "nbf in the future": shifted(nbf=120),
    "nbf a text": with_claims(nbf="now"),
    "iat in the future": shifted(iat=120),
    "iat a text": with_claims(iat="now"),
    "a refresh token": with_claims(typ="Refresh"),
    "a logout token": with_claims(events={"http://schemas.openid.net/event/backchannel-logout": {}}),
    "bound to a key of its owner": with_claims(cnf={"jkt": "x"}),
    "claims no object": with_payload(lambda payload: b"[" + payload + b"]"),
    "claims in UTF-16": with_payload(lambda payload: payload.decode().encode("utf-16")),
    "claims nested too deeply": with_claims(deep=json.loads("[" * 40 + "]" * 40)),
    "claims too long": with_claims(filler="x" * 20_000),
    "empty": lambda double, claims: "..",
}
"""For any token."""

ID_ONLY: Mapping[str, Attack] = {
    "an access token": lambda double, claims: double.access_token("ada"),
    "an access token by its header": with_header(typ="at+jwt"),
    "nonce of another request": with_claims(nonce="another"),
    "nonce missing": without_claim("nonce"),
    "nonce twice": duplicated("nonce", "another"),
    "azp of another client": with_claims(azp="other"),
    "several audiences and no azp": lambda double, claims: without_claim("azp")(
        double, claims | {"aud": [claims["aud"], "other"]}
    ),
    "iat missing": without_claim("iat"),
}
"""For an ID token."""

ACCESS_ONLY: Mapping[str, Attack] = {
    "an ID token": lambda double, claims: double.sign(double.id_claims("robot")),
    "an ID token for the API's audience": with_claims(typ="ID"),
}
"""For an access token."""
