"""The ledger's certificate that it leased a part of a tenant's credits or free requests: the platform's keys need one."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.accounts import AccountKind, kind_of
from keyferry.contracts.credit import CreditCertificate, CreditLease, LeaseResult
from keyferry.sealing.framing import frame, to_base64

_CONTEXT = "keyferry/credit-certificate/v1"
PAYING = frozenset({AccountKind.CREDITS, AccountKind.ALLOWANCE})
"""The accounts that pay for the platform's keys. A budget only limits what is paid elsewhere."""


def certify(key: Ed25519PrivateKey, tenant: str, lease: CreditLease) -> CreditCertificate | None:
    """Return the certificate of a lease that was granted to a tenant; None if its account pays for nothing."""
    if lease.result is not LeaseResult.GRANTED or lease.lease_id is None or kind_of(lease.account) not in PAYING:
        return None
    unsigned = CreditCertificate(
        account=lease.account,
        lease_id=lease.lease_id,
        not_after_unix_ms=lease.not_after_unix_ms,
        signature="",
    )
    return unsigned.model_copy(update={"signature": to_base64(key.sign(certified_bytes(unsigned, tenant)))})


def certified_bytes(certificate: CreditCertificate, tenant: str) -> bytes:
    """Return what is signed."""
    return frame(_CONTEXT, tenant, certificate.account, certificate.lease_id, certificate.not_after_unix_ms)


def pays_for(certificate: CreditCertificate, tenant: str) -> bool:
    """Return whether the account is the tenant's own, and one that pays: its credits, or its free requests of a month."""
    kind, owner, *rest = certificate.account.split("/")
    if owner != tenant:
        return False
    return (kind == AccountKind.CREDITS and not rest) or (kind == AccountKind.ALLOWANCE and len(rest) == 1)
