"""A vault, a worker and a key for tests of delivery."""

import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.lease import LeaseKey, SealedKey, WorkerRegistration
from keyferry.contracts.secret import Secret
from keyferry.sealing import registration
from keyferry.sealing.delivery import NONCE_BYTES, Purpose, Recipient, seal_to_worker
from keyferry.sealing.framing import to_base64

NOW = 1_900_000_000_000
KEY = Secret("sk-proj-0123456789")
ORIGIN = "https://api.openai.com"
VAULT = Ed25519PrivateKey.generate()
FACTS = KeyFacts(
    key_id="key_0001",
    tenant="acme",
    provider="openai",
    label="main",
    status=KeyStatus.VALID,
    version=3,
    origin=ORIGIN,
    base_url=f"{ORIGIN}/v1",
)


class Process:
    """One worker process with its keys."""

    def __init__(self, worker_id: str = "provider-worker-1", instance_id: str = "inst_1") -> None:
        self.identity = Ed25519PrivateKey.generate()
        self.private_key = X25519PrivateKey.generate()
        self.recipient = Recipient(worker_id, instance_id, (self.private_key,), VAULT.public_key())

    @property
    def registration(self) -> WorkerRegistration:
        return registration.sign(
            self.identity,
            worker_id=self.recipient.worker_id,
            instance_id=self.recipient.instance_id,
            public_key=self.private_key.public_key().public_bytes_raw(),
            not_after_unix_ms=NOW + registration.MAX_VALID_MS,
        )

    def asks(self) -> LeaseKey:
        return LeaseKey(
            instance_id=self.recipient.instance_id,
            tenant=FACTS.tenant,
            owner=FACTS.tenant,
            provider=FACTS.provider,
            key_id=FACTS.key_id,
            origin=FACTS.origin,
            attempt_id="att_1",
            nonce=new_nonce(),
            sent_at_unix_ms=NOW,
        )


def new_nonce() -> str:
    return to_base64(secrets.token_bytes(NONCE_BYTES))


def delivered(
    to: Process, asked: LeaseKey, *, signer: Ed25519PrivateKey = VAULT, purpose: Purpose = Purpose.LEASE
) -> SealedKey:
    """Return the vault's delivery for a request."""
    return seal_to_worker(
        KEY,
        signer,
        to.registration,
        FACTS,
        purpose=purpose,
        tenant=asked.tenant,
        nonce=asked.nonce,
        not_after_unix_ms=asked.sent_at_unix_ms + 60_000,
    )
