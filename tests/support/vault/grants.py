"""Those who sign for requests and for credit, in place of ingress, a tenant's program and the ledger."""

import json
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import nkeys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.credit import CreditCertificate, CreditLease, LeaseResult, credits_account
from keyferry.contracts.internal_services import InternalService
from keyferry.contracts.lease import LeaseKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import internal_client
from keyferry.sealing.credit_certificate import certify
from keyferry.sealing.framing import to_base64
from keyferry.sealing.grant import GrantSigner, signer_of
from keyferry.sealing.grant_check import GrantKey
from keyferry.sealing.private_keys import private_key_text, public_key_text
from services.key_vault.leases.grant_keys import GrantKeys
from services.key_vault.leases.grants import GrantCheck

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
INGRESS, OPERATOR = "ingress", "operator"
PROGRAM = internal_client("acme", "main")
LASTS_MS = 600_000
_NKEY = str(nkeys.from_seed(bytearray(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER))).public_key.decode())


def new_key() -> Secret:
    """Return the content of a grant key's file."""
    return Secret(to_base64(secrets.token_bytes(32)))


@dataclass
class Granting:
    """The keys of ingress, the operator, one program of acme, and the ledger."""

    secret: Secret = field(default_factory=new_key)
    operator_secret: Secret = field(default_factory=new_key)
    program: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    ledger: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def signer(self, user: str = INGRESS) -> GrantSigner:
        own = {INGRESS: self.secret, OPERATOR: self.operator_secret, PROGRAM: private_key_text(self.program)}
        return signer_of(user, own[user])

    @property
    def keys(self) -> GrantKeys:
        return GrantKeys({INGRESS: self.secret, OPERATOR: self.operator_secret})

    @property
    def file_text(self) -> str:
        """The content of the vault's file of grant keys."""
        return json.dumps({INGRESS: self.secret.reveal(), OPERATOR: self.operator_secret.reveal()})

    @property
    def service(self) -> InternalService:
        """The registration of the program."""
        return InternalService(
            tenant="acme",
            name="main",
            nkey_public=_NKEY,
            grant_public_key=public_key_text(self.program),
            created_at=datetime(2026, 11, 1, tzinfo=UTC),
            created_by="operator",
        )

    def key_of(self, signer: str) -> GrantKey | None:
        """Return the key of a signer as the vault does."""
        return self.keys.get(signer, {"acme.main": self.service}.get)

    def check(self) -> GrantCheck:
        """Return a vault's check, which has counted no use yet."""
        return GrantCheck(self.key_of, self.ledger.public_key())

    def grant(
        self,
        tenant: str,
        request_id: str,
        *,
        body: bytes = BODY,
        user: str = INGRESS,
        now_unix_ms: int | None = None,
        lasts_ms: int = LASTS_MS,
    ) -> str:
        now = time.time_ns() // 1_000_000 if now_unix_ms is None else now_unix_ms
        return self.signer(user).sign(tenant, request_id, body, now_unix_ms=now, lasts_ms=lasts_ms)

    def certificate(
        self, tenant: str, *, account: str | None = None, now_unix_ms: int | None = None, lasts_ms: int = 60_000
    ) -> CreditCertificate:
        """Return what the ledger signs for a lease of the tenant's credits, or of another account that pays."""
        now = time.time_ns() // 1_000_000 if now_unix_ms is None else now_unix_ms
        lease = CreditLease(
            result=LeaseResult.GRANTED,
            account=account or credits_account(tenant),
            lease_id=f"lea_{secrets.token_hex(4)}",
            amount=1,
            not_after_unix_ms=now + lasts_ms,
        )
        certificate = certify(self.ledger, tenant, lease)
        assert certificate is not None, "a lease of an account that pays"
        return certificate

    def signed(self, request: LeaseKey) -> LeaseKey:
        """Return a lease request with the grant of a request of its tenant, and a certificate if it needs one."""
        request_id = request.request_id or f"req_{secrets.token_hex(6)}"
        paid = request.owner == PLATFORM_TENANT != request.tenant
        now = request.sent_at_unix_ms
        return request.model_copy(
            update={
                "request_id": request_id,
                "grant": self.grant(request.tenant, request_id, now_unix_ms=now),
                "certificate": self.certificate(request.tenant, now_unix_ms=now) if paid else None,
            }
        )
