"""Integration secrets for the process that uses them, from the vault.

A secret is sealed to a key that this process makes for the one request, and is kept in memory for at most ten seconds: so long
after a rotation or a removal everybody uses the new state.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.integration_management import LEASES
from keyferry.contracts.integration_secrets import IntegrationKind, IntegrationSecretLease, LeaseIntegrationSecret
from keyferry.contracts.key import GetIntakeKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import INTAKE_KEY_GET
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.sealing.framing import to_base64
from keyferry.sealing.intake import seal_integration_secret
from keyferry.sealing.integration_lease import NONCE_BYTES, InvalidSecretLease, open_for_reader
from keyferry.sealing.private_keys import public_key_text
from keyferry.sealing.suite import DEFAULT_SUITE

CACHE_SECONDS = 10.0
_TIMEOUT_SECONDS = 5.0

_Wanted = tuple[str, IntegrationKind, str | None]


class NoSuchSecret(Exception):
    """The owner has no such integration secret; the message says how to add one, and may be shown."""


@dataclass(frozen=True, slots=True)
class SecretVersions:
    """A secret, and the version before its last rotation while that is valid as well."""

    secret_id: str
    version: int
    current: Secret
    previous: Secret | None = None

    @property
    def all(self) -> tuple[Secret, ...]:
        """The versions that are valid now, the current one first."""
        return (self.current,) if self.previous is None else (self.current, self.previous)


@dataclass(slots=True)
class _Slot:
    """What is known of one secret; the lock keeps several callers from asking at once."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    found: SecretVersions | None = None
    until: float = 0.0


async def seal_for_vault(bus: Bus, tenant: str, kind: IntegrationKind, secret: Secret) -> str:
    """Return a secret that this process has made, sealed to the vault's intake key, for a request that saves or rotates it.

    Raises BusError while the vault does not answer.
    """
    intake = await bus.ask(INTAKE_KEY_GET, GetIntakeKey(), timeout_seconds=_TIMEOUT_SECONDS)
    return seal_integration_secret(intake.public_key, tenant, kind.value, secret, suite=intake.suite)


class IntegrationSecrets:
    """Reads the integration secrets that this process's role may have. `clock` counts seconds."""

    def __init__(
        self, bus: Bus, *, cache_seconds: float = CACHE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus = bus
        self._cache_seconds = min(cache_seconds, CACHE_SECONDS)
        self._clock = clock
        self._slots: dict[_Wanted, _Slot] = {}

    async def get(self, tenant: str, kind: IntegrationKind, secret_id: str | None = None) -> SecretVersions:
        """Return a secret of an owner: the one with this id, or the only one of its kind.

        Raises NoSuchSecret; Refused for a kind that this role may not read; and BusError while the vault does not answer and
        nothing is known that is at most ten seconds old.
        """
        wanted = (tenant, kind, secret_id)
        self._evict_expired()
        slot = self._slots.setdefault(wanted, _Slot())
        async with slot.lock:
            if slot.found is None or self._clock() >= slot.until:
                asked_at = self._clock()
                slot.found = None
                slot.found = await self._lease(*wanted)
                slot.until = asked_at + self._cache_seconds
            return slot.found

    async def _lease(self, tenant: str, kind: IntegrationKind, secret_id: str | None) -> SecretVersions:
        private_key = X25519PrivateKey.generate()
        request = LeaseIntegrationSecret(
            tenant=tenant,
            kind=kind,
            secret_id=secret_id,
            instance_id=self._bus.instance_id,
            suite=DEFAULT_SUITE,
            public_key=public_key_text(private_key),
            nonce=to_base64(os.urandom(NONCE_BYTES)),
        )
        try:
            lease = await self._bus.ask(LEASES[self._bus.role], request, timeout_seconds=_TIMEOUT_SECONDS)
        except Refused as error:
            if error.refusal.code is ErrorCode.NOT_FOUND:
                raise NoSuchSecret(error.refusal.message) from None
            raise
        return _open(private_key, request, lease)

    def _evict_expired(self) -> None:
        now = self._clock()
        expired = [name for name, slot in self._slots.items() if now >= slot.until and not slot.lock.locked()]
        for name in expired:
            del self._slots[name]


def _open(
    private_key: X25519PrivateKey, request: LeaseIntegrationSecret, lease: IntegrationSecretLease
) -> SecretVersions:
    if (lease.tenant, lease.kind) != (request.tenant, request.kind) or (
        request.secret_id is not None and lease.secret_id != request.secret_id
    ):
        raise BusError("the vault answered with another secret than the one that was requested")
    try:
        current = open_for_reader(private_key, request, lease.secret_id, lease.version, lease.sealed)
        previous = None
        if lease.previous_version is not None and lease.previous_sealed is not None:
            version, sealed = lease.previous_version, lease.previous_sealed
            previous = open_for_reader(private_key, request, lease.secret_id, version, sealed)
    except InvalidSecretLease as error:
        raise BusError(str(error)) from None
    return SecretVersions(lease.secret_id, lease.version, current, previous)
