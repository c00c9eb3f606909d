"""Checks grants and the ledger's certificates, with the keys of those who sign them."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyferry.contracts.credit import CreditCertificate
from keyferry.contracts.secret import Secret
from keyferry.contracts.users import tenant_of
from keyferry.sealing.credit_certificate import certified_bytes
from keyferry.sealing.framing import from_base64
from keyferry.sealing.grant import MAX_VALID_MS, Grant, MalformedGrant, hmac_of, parse_grant
from keyferry.sealing.registration import MAX_SKEW_MS

GrantKey = Ed25519PublicKey | Secret
"""With what a signer's grants are checked: its public key, or the secret that it shares with the vault (base64url)."""
KeyOfSigner = Callable[[str], GrantKey | None]
"""Returns the key of a NATS user, if it may sign grants now."""


class InvalidGrant(ValueError):
    """A grant that proves no request. The message may be shown."""


class InvalidCertificate(ValueError):
    """A certificate that proves no lease of credit. The message may be shown."""


@dataclass(frozen=True, slots=True)
class GrantedRequest:
    """The request that a grant is for."""

    tenant: str
    request_id: str


def verify_grant(text: str, granted: GrantedRequest, key_of: KeyOfSigner, now_unix_ms: int) -> Grant:
    """Check that a known signer signed for this request of this tenant, and that it has not ended. Raises InvalidGrant."""
    try:
        grant = parse_grant(text)
    except MalformedGrant as error:
        raise InvalidGrant(str(error)) from None
    if (key := key_of(grant.signer)) is None:
        raise InvalidGrant("nobody signs grants under the name that this one has: enrol its signer with the vault")
    if not _may_sign(grant.signer, granted.tenant):
        raise InvalidGrant(f"{grant.signer} signs for requests of its own tenant only, and not of {granted.tenant}")
    if not _is_signed(grant, key, grant.signed_bytes(granted.tenant, granted.request_id)):
        raise InvalidGrant(f"{grant.signer} has not signed for the request {granted.request_id} of {granted.tenant}")
    left_ms = grant.end_unix_ms - now_unix_ms
    if left_ms < -MAX_SKEW_MS:
        raise InvalidGrant(f"the request {granted.request_id} ended {-left_ms} ms ago, and its grant with it")
    if left_ms > MAX_VALID_MS + MAX_SKEW_MS:
        raise InvalidGrant(
            f"the grant is for {left_ms} ms, and {MAX_VALID_MS} are allowed: check that the clocks agree (NTP)"
        )
    return grant


def verify_certificate(certificate: CreditCertificate, tenant: str, ledger: Ed25519PublicKey, now_unix_ms: int) -> None:
    """Check that the ledger certified a lease of the tenant that has not ended. Raises InvalidCertificate."""
    try:
        ledger.verify(from_base64(certificate.signature), certified_bytes(certificate, tenant))
    except (InvalidSignature, ValueError):
        raise InvalidCertificate(f"the usage ledger has not certified this lease of credit for {tenant}") from None
    late_ms = now_unix_ms - certificate.not_after_unix_ms
    if late_ms > MAX_SKEW_MS:
        raise InvalidCertificate(f"the lease of credit {certificate.lease_id} ended {late_ms} ms ago")


def _may_sign(signer: str, tenant: str) -> bool:
    own = tenant_of(signer)
    return own is None or own == tenant


def _is_signed(grant: Grant, key: GrantKey, signed: bytes) -> bool:
    if isinstance(key, Secret):
        return hmac.compare_digest(grant.signature, hmac_of(from_base64(key.reveal()), signed))
    try:
        key.verify(grant.signature, signed)
    except InvalidSignature:
        return False
    return True
