"""A hostile NATS server chooses what its clients' nkeys sign, so those signatures must be worthless to the vault.

The server's greeting carries a nonce that the client signs with its nkey. Here the nonce is, byte for byte, what a worker's
identity key signs when it registers a public key, and that public key is the attacker's.
"""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import nats
import nkeys
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.lease import WorkerRegistration
from keyferry.sealing import registration
from keyferry.sealing.framing import to_base64
from keyferry.sealing.registration import BadRegistration
from services.key_vault.leases.registrations import EnrolledWorkers
from tests.integration.key_vault.vault_on_bus import now_unix_ms

WORKER_ID = "provider-worker-1"
ORACLE_QUESTIONS = 20


@dataclass
class Oracle:
    """A hostile server that makes each client sign `nonce`."""

    port: int = 0
    nonce: str = ""
    signatures: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "version": "2.15.1", "nonce": self.nonce, "auth_required": True, "max_payload": 1024}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        line = await reader.readline()
        signature = json.loads(line.removeprefix(b"CONNECT "))["sig"]
        self.signatures.append(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
        writer.write(b"PONG\r\n")
        while await reader.read(4096):
            pass
        writer.close()


@asynccontextmanager
async def oracle() -> AsyncIterator[Oracle]:
    made = Oracle()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


async def signed_by_nkey(hostile: Oracle, seed: bytes, wanted: WorkerRegistration) -> WorkerRegistration:
    """Return the registration with the signature that a client's nkey gives while connecting."""
    hostile.nonce = registration._signed_bytes(wanted).decode()
    client = await nats.connect(f"nats://127.0.0.1:{hostile.port}", nkeys_seed_str=seed.decode(), allow_reconnect=False)
    await client.close()
    return wanted.model_copy(update={"signature": to_base64(hostile.signatures[-1])})


def attackers_registration() -> WorkerRegistration:
    return registration.sign(
        Ed25519PrivateKey.generate(),
        worker_id=WORKER_ID,
        instance_id="inst_of_the_attacker",
        public_key=X25519PrivateKey.generate().public_key().public_bytes_raw(),
        not_after_unix_ms=now_unix_ms() + 600_000,
    )


def new_seed() -> bytes:
    return bytes(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER))


def ed25519_of(seed: bytes) -> Ed25519PublicKey:
    _, raw = nkeys.decode_seed(seed)
    return Ed25519PrivateKey.from_private_bytes(bytes(raw)).public_key()


async def test_nkey_signature_for_the_server_is_no_registration() -> None:
    enrolled = EnrolledWorkers({WORKER_ID: Ed25519PrivateKey.generate().public_key()})
    accepted = 0
    async with oracle() as hostile:
        for _ in range(ORACLE_QUESTIONS):
            forged = await signed_by_nkey(hostile, new_seed(), attackers_registration())
            try:
                enrolled.check(forged, now_unix_ms())
                accepted += 1
            except BadRegistration:
                pass
    assert (accepted, len(hostile.signatures)) == (0, ORACLE_QUESTIONS)


async def test_nkey_as_identity_would_register_the_attacker() -> None:
    """The negative case: the same oracle, with the nkey enrolled as identity."""
    seed = new_seed()
    enrolled = EnrolledWorkers({WORKER_ID: ed25519_of(seed)})
    async with oracle() as hostile:
        enrolled.check(await signed_by_nkey(hostile, seed, attackers_registration()), now_unix_ms())
        with pytest.raises(BadRegistration):
            enrolled.check(attackers_registration(), now_unix_ms())
