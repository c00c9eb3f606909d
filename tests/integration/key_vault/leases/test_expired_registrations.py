"""No key is released to a process whose registration has expired, whether the vault has it in memory or in its table."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.key import KeyTest
from keyferry.contracts.lease import LeaseKey, RunKeyTest, SealedKey
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from keyferry.sealing import registration
from keyferry.sealing.delivery import NONCE_BYTES
from keyferry.sealing.framing import to_base64
from services.key_vault.leases.registrations import EnrolledWorkers
from services.key_vault.leases.service import LeaseService
from tests.integration.key_vault.vault_database import ORIGIN, PROVIDER, VaultDatabase
from tests.integration.key_vault.vault_on_bus import quiet_alarms
from tests.support.vault.grants import Granting

WORKER, INSTANCE = "provider-worker-1", "inst_1"
END = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=30)
IDENTITY = Ed25519PrivateKey.generate()


class Vault:
    """A replica of the vault with a clock that is set."""

    def __init__(self, vault: VaultDatabase) -> None:
        self.now = END - timedelta(minutes=1)
        self._granting = Granting()
        self._service = LeaseService(
            vault.stores.database,
            vault.encryption,
            Ed25519PrivateKey.generate(),
            EnrolledWorkers({WORKER: IDENTITY.public_key()}),
            lambda: self.now,
            _never_ask,
            self._granting.check(),
            quiet_alarms(vault.stores.database),
        )

    async def register(self) -> None:
        await self._service.register(
            registration.sign(
                IDENTITY,
                worker_id=WORKER,
                instance_id=INSTANCE,
                public_key=X25519PrivateKey.generate().public_key().public_bytes_raw(),
                not_after_unix_ms=_unix_ms(END),
            )
        )

    async def lease(self, tenant: str, key_id: str) -> SealedKey:
        request = LeaseKey(
            instance_id=INSTANCE,
            tenant=tenant,
            owner=tenant,
            provider=PROVIDER,
            key_id=key_id,
            origin=ORIGIN,
            attempt_id="att_1",
            nonce=to_base64(secrets.token_bytes(NONCE_BYTES)),
            sent_at_unix_ms=_unix_ms(self.now),
        )
        return await self._service.lease(WORKER, self._granting.signed(request))


async def test_a_lease_ends_with_the_registration(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    one, another = Vault(vault), Vault(vault.restarted())
    await one.register()
    for replica in (one, another):  # the second one finds the registration in the table
        replica.now = END - timedelta(milliseconds=1)
        assert (await replica.lease("acme", key.key_id)).instance_id == INSTANCE
    for replica in (one, another, Vault(vault.restarted())):
        replica.now = END
        with pytest.raises(Refused, match="register again") as refused:
            await replica.lease("acme", key.key_id)
        assert refused.value.refusal.code is ErrorCode.CONFLICT


async def _never_ask(worker: str, command: RunKeyTest) -> KeyTest:
    raise AssertionError("no key is tested here")


def _unix_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
