"""Delivers keys to worker processes: registers them, leases keys to them, and has them test keys.

A nonce is good once for all replicas of the vault: it is taken in the transaction that writes the lease down, and kept for as
long as a request of its age would be listened to. Past that, a replayed request is refused for its age.

A lease request itself is not signed. It need not be: its answer opens at the registered process alone, which takes it only for
a nonce of its own. Whoever forges one gets a sealed key that is of no use, and leaves an audit event.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from secrets import token_bytes
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.key import (
    KeyFacts,
    KeyTest,
    LeaseKey,
    ProviderKey,
    Registered,
    RunKeyTest,
    SealedKey,
    WorkerRegistration,
)
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import KEY_LEASE, KEY_TEST_RUN
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.dispatch import Received
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.sealing.delivery import NONCE_BYTES, Purpose, seal_to_worker
from keyferry.sealing.framing import to_base64
from keyferry.sealing.registration import MAX_SKEW_MS, BadRegistration
from services.key_vault.database.errors import RequestRejected
from services.key_vault.database.tables import DataKeyRow
from services.key_vault.encryption.kek_providers.protocol import KekUnavailable
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.keys.store import Act, EncryptedRecord, Leased, Nonce, Replayed, Wanted
from services.key_vault.leases.policy import PLATFORM, check_key, check_request, lease_end_unix_ms
from services.key_vault.leases.registrations import EnrolledWorkers, KnownRegistrations

_log = logging.getLogger(__name__)

CHECK_SECONDS = 40.0
"""For one worker's test of a key, its calls to the provider included."""
_LEASE_ACTION = "key.lease"
_REGISTER_ACTION = "worker.register"
_WORKER_TOKEN = KEY_LEASE.position("worker")
_AWAY = "the vault's database does not answer; try again in a moment"

Clock = Callable[[], datetime]
AskWorker = Callable[[str, RunKeyTest], Awaitable[KeyTest]]
"""Has a worker (by id) test a key. Raises Refused for its refusal, BusError when it does not answer."""


class NoWorker(Exception):
    """No worker could test a key just now; nothing is known about the key."""


class LeaseStore(Protocol):
    """What delivery needs of the store. Every method raises DatabaseUnavailable."""

    async def act(self, act: Act) -> None:
        """Write an act down, committed on return."""

    async def for_lease(
        self,
        owner: str,
        key_id: str,
        act: Act,
        nonce: Nonce,
        check: Callable[[ProviderKey], object] = ...,
        wanted: Wanted | None = None,
    ) -> Leased | None:
        """A key and its record, the act written down and the nonce taken in the same transaction, unless `check` raises.

        `wanted` is what `check` lets pass. Raises Replayed.
        """

    async def register_worker(self, registration: WorkerRegistration) -> None:
        """Keep a registration."""

    async def workers(self, now: datetime) -> list[WorkerRegistration]:
        """Registrations that have not run out, the newest first."""

    async def worker(self, worker_id: str, instance_id: str) -> WorkerRegistration | None:
        """The registration of one process."""


class KeyOpener(Protocol):
    """Whoever opens records: `custody.Custody`."""

    async def open(self, key: KeyFacts, sealed: EncryptedRecord, data_key: DataKeyRow | None = None) -> Secret:
        """The provider key in a record, and `data_key` where its row is known. Raises Undecryptable and KekUnavailable."""


def ask_over_bus(bus: Bus) -> AskWorker:
    """Ask workers over the bus."""

    async def ask(worker_id: str, check: RunKeyTest) -> KeyTest:
        return await bus.ask(KEY_TEST_RUN, check, timeout_seconds=CHECK_SECONDS, worker=worker_id)

    return ask


class LeaseService:
    """The vault's side of the way to the workers. `clock` is the UTC time; `signer` is the key that workers have pinned."""

    def __init__(
        self,
        store: LeaseStore,
        encryption: KeyOpener,
        signer: Ed25519PrivateKey,
        enrolled: EnrolledWorkers,
        clock: Clock,
        request: AskWorker,
        *,
        lease_seconds: int = 60,
    ) -> None:
        self._store = store
        self._custody = encryption
        self._signer = signer
        self._enrolled = enrolled
        self._clock = clock
        self._request = request
        self._lease_ms = lease_seconds * 1000
        self._known = KnownRegistrations()

    async def register(self, registration: WorkerRegistration) -> Registered:
        """Know a worker process by its short-lived public key. Raises Refused; both ways it is written down before."""
        now_unix_ms = self._now_unix_ms()
        try:
            self._enrolled.check(registration, now_unix_ms)
            await self._store.act(_registering(registration, AuditOutcome.DONE))
            await self._store.register_worker(registration)
        except BadRegistration as error:
            _log.warning("a worker's registration is refused", extra={"why": str(error)})
            await self._write_down(_registering(registration, AuditOutcome.REFUSED, why=str(error)))
            raise Refused(ErrorCode.INVALID, str(error)) from None
        except DatabaseUnavailable:
            raise Refused(ErrorCode.UNAVAILABLE, _AWAY) from None
        self._known.put(registration, now_unix_ms)
        return Registered(instance_id=registration.instance_id)

    async def lease(self, worker_id: str, asked: LeaseKey) -> SealedKey:
        """The key, sealed to the process that asks and signed. `worker_id` is the one that the bus vouches for.

        Raises Refused: CONFLICT for a process that has to register again, NOT_FOUND for a key that is gone or cannot be
        used, INVALID for a request that nobody should make, UNAVAILABLE while the vault cannot look. A lease and a refusal
        are written down, and committed, before this returns.
        """
        try:
            return await self._lease(worker_id, asked)
        except RequestRejected as error:
            await self._write_down(_leasing(worker_id, asked, AuditOutcome.REFUSED, why=error.message))
            raise Refused(error.code, error.message) from None
        except DatabaseUnavailable:
            raise Refused(ErrorCode.UNAVAILABLE, _AWAY) from None

    async def check(
        self, facts: KeyFacts, key: Secret, base_url: str, fields: Mapping[str, str], model: str | None
    ) -> KeyTest:
        """Have a registered worker test a key; the next one where that is gone. Raises NoWorker, DatabaseUnavailable.

        A key that is not stored yet is tested under the facts it will have.
        """
        started = self._clock()
        for worker in await self._live_workers(started):
            now = self._clock()
            if now - started > timedelta(seconds=CHECK_SECONDS / 2):
                break  # the last one took its time; whoever waits for the test should not wait for another
            sealed = seal_to_worker(
                key,
                self._signer,
                worker,
                facts,
                purpose=Purpose.CHECK,
                tenant=facts.tenant,
                nonce=to_base64(token_bytes(NONCE_BYTES)),
                not_after_unix_ms=_unix_ms(now) + self._lease_ms,
            )
            message = RunKeyTest(key=sealed, base_url=base_url, fields=dict(fields), model=model)
            try:
                return await self._request(worker.worker_id, message)
            except (Refused, BusError) as error:
                _log.info("a worker did not test a key", extra={"worker": worker.worker_id, "why": str(error)})
        raise NoWorker("no provider worker could test the key")

    async def on_lease(self, received: Received[LeaseKey]) -> SealedKey:
        """Answer a worker's request for a key. The worker is the one in the subject, where the server checks it."""
        return await self.lease(received.token(_WORKER_TOKEN), received.message)

    # --- inside

    async def _lease(self, worker_id: str, asked: LeaseKey) -> SealedKey:
        now_unix_ms = self._now_unix_ms()
        check_request(asked, now_unix_ms)
        worker = await self._registration(worker_id, asked.instance_id, now_unix_ms)
        key, secret = await self._opened(worker_id, asked, now_unix_ms)
        return seal_to_worker(
            secret,
            self._signer,
            worker,
            key,
            purpose=Purpose.LEASE,
            tenant=asked.tenant,
            nonce=asked.nonce,
            not_after_unix_ms=lease_end_unix_ms(asked, key, self._lease_ms),
        )

    async def _opened(self, worker_id: str, asked: LeaseKey, now_unix_ms: int) -> tuple[ProviderKey, Secret]:
        nonce = Nonce(
            f"{worker_id}/{asked.instance_id}/{asked.nonce}",
            datetime.fromtimestamp((asked.sent_at_unix_ms + MAX_SKEW_MS + 1000) / 1000, UTC),
        )
        act = _leasing(worker_id, asked, AuditOutcome.DONE)
        try:
            found = await self._store.for_lease(
                asked.owner,
                asked.key_id,
                act,
                nonce,
                check=lambda key: check_key(key, asked, now_unix_ms),
                wanted=Wanted(asked.provider, asked.origin, datetime.fromtimestamp(now_unix_ms / 1000, UTC)),
            )
            if found is None:
                raise RequestRejected(
                    ErrorCode.NOT_FOUND, f"{asked.owner} has no key {asked.key_id}: it was removed, or never was"
                )
            return found.key, await self._custody.open(found.key, found.sealed, found.data_key)
        except Replayed:
            raise RequestRejected(
                ErrorCode.INVALID, "this lease request was answered before; a nonce is good once"
            ) from None
        except Undecryptable:
            raise RequestRejected(
                ErrorCode.NOT_FOUND,
                f"the vault cannot open the record of {asked.key_id}; `keyferry vault verify` tells why",
            ) from None
        except KekUnavailable:
            raise RequestRejected(
                ErrorCode.UNAVAILABLE, "whoever holds the vault's KEKs does not answer; try again in a moment"
            ) from None

    async def _registration(self, worker_id: str, instance_id: str, now_unix_ms: int) -> WorkerRegistration:
        if (known := self._known.get(worker_id, instance_id, now_unix_ms)) is not None:
            return known
        found = await self._store.worker(worker_id, instance_id)
        if found is None or (found.worker_id, found.instance_id) != (worker_id, instance_id):
            raise RequestRejected(
                ErrorCode.CONFLICT, f"this process of {worker_id} is not registered with the vault: register it"
            )
        try:
            self._enrolled.check(found, now_unix_ms)
        except BadRegistration as error:
            raise RequestRejected(ErrorCode.CONFLICT, str(error)) from None
        self._known.put(found, now_unix_ms)
        return found

    async def _live_workers(self, now: datetime) -> list[WorkerRegistration]:
        """The newest registration of each worker that was enrolled with the key that signed it."""
        live: dict[str, WorkerRegistration] = {}
        for worker in await self._store.workers(now):
            try:
                self._enrolled.check(worker, _unix_ms(now))
            except BadRegistration as error:
                _log.error("a stored registration is not to be believed", extra={"why": str(error)})
                continue
            live.setdefault(worker.worker_id, worker)
        return list(live.values())

    async def _write_down(self, act: Act) -> None:
        """Write a refusal down. Refused either way: without a database it is answered as unavailable instead."""
        try:
            await self._store.act(act)
        except DatabaseUnavailable:
            raise Refused(ErrorCode.UNAVAILABLE, _AWAY) from None

    def _now_unix_ms(self) -> int:
        return _unix_ms(self._clock())


def _registering(registration: WorkerRegistration, outcome: AuditOutcome, **details: str) -> Act:
    return Act(
        actor=_actor(registration.worker_id),
        action=_REGISTER_ACTION,
        tenant=PLATFORM,
        target=_actor(registration.instance_id),
        outcome=outcome,
        details=details,
    )


def _leasing(worker_id: str, asked: LeaseKey, outcome: AuditOutcome, **details: str) -> Act:
    return Act(
        actor=worker_id,
        action=_LEASE_ACTION,
        tenant=asked.owner,
        target=asked.key_id,
        outcome=outcome,
        details={
            "for_tenant": asked.tenant,
            "attempt": asked.attempt_id[:64],
            "instance": asked.instance_id[:64],
            **details,
        },
    )


def _actor(text: str) -> str:
    """A name that somebody claims, cut to what an audit event takes."""
    return text[:64] or "unnamed"


def _unix_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
