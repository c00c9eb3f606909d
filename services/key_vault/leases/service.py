"""Releases keys to worker processes: registration, leases, and key tests.

A nonce is good once for all replicas of the vault: it is taken in the transaction that writes the lease, and kept for as long as
a request of its age would be accepted. After that, a replayed request is rejected for its age.

A lease request itself is not signed, and need not be: only the registered process can open the reply, and it accepts one only
for a nonce of its own. A forged request yields a sealed key that is useless to the forger, and leaves an audit event. What it has
to carry is the grant of a request that is under way (`leases.grants`).
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from secrets import token_bytes

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.key import KeyFacts, KeyTest, ProviderKey
from keyferry.contracts.lease import LeaseKey, Registered, RunKeyTest, SealedKey, WorkerRegistration
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import KEY_LEASE, KEY_TEST_RUN
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.sealing.delivery import NONCE_BYTES, Purpose, seal_to_worker
from keyferry.sealing.framing import to_base64
from keyferry.sealing.registration import MAX_SKEW_MS, BadRegistration
from services.key_vault.database.errors import RequestRejected
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.protocol import KekUnavailable
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.leases.alarms import LeaseAlarms
from services.key_vault.leases.grants import GrantCheck, NotGranted
from services.key_vault.leases.metrics import GRANTED, LEASE_DURATION, LEASES, REFUSED, UNAVAILABLE
from services.key_vault.leases.policy import check_key, check_request, lease_end_unix_ms
from services.key_vault.leases.registrations import EnrolledWorkers, VerifiedRegistrations
from services.key_vault.leases.store import LeaseCriteria, LeaseStore, Nonce, Replayed
from services.key_vault.leases.worker_store import WorkerStore

_log = logging.getLogger(__name__)

KEY_TEST_SECONDS = 40.0
"""For one worker's test of a key, its calls to the provider included."""
_LEASE_ACTION = "key.lease"
_REGISTER_ACTION = "worker.register"
_WORKER_TOKEN = KEY_LEASE.position("worker")
_UNAVAILABLE = "the vault's database does not respond; try again in a moment"

Clock = Callable[[], datetime]
AskWorker = Callable[[str, RunKeyTest], Awaitable[KeyTest]]
"""Has a worker (by id) test a key. Raises Refused for its refusal, BusError when it does not answer."""


class NoWorker(Exception):
    """No worker could test a key, so nothing is known about the key."""


def ask_over_bus(bus: Bus) -> AskWorker:
    """Return a function that asks workers over the bus."""

    async def ask(worker_id: str, command: RunKeyTest) -> KeyTest:
        return await bus.ask(KEY_TEST_RUN, command, timeout_seconds=KEY_TEST_SECONDS, worker=worker_id)

    return ask


def _allow_every_tenant(request: LeaseKey) -> None:
    pass


class LeaseService:
    """Releases keys to workers. `clock` returns the time in UTC; workers have pinned the public half of `signer`.

    Without `grants` it releases them for any attempt. `check_tenant` raises RequestRejected for a tenant that no key may be
    released for.
    """

    def __init__(
        self,
        database: Database,
        encryption: EnvelopeEncryption,
        signer: Ed25519PrivateKey,
        enrolled: EnrolledWorkers,
        clock: Clock,
        ask_worker: AskWorker,
        grants: GrantCheck | None,
        alarms: LeaseAlarms,
        *,
        lease_seconds: int = 60,
        check_tenant: Callable[[LeaseKey], None] = _allow_every_tenant,
    ) -> None:
        self._database = database
        self._leases = LeaseStore(database)
        self._workers = WorkerStore(database)
        self._encryption = encryption
        self._signer = signer
        self._enrolled = enrolled
        self._clock = clock
        self._ask_worker = ask_worker
        self._grants = grants
        self._alarms = alarms
        self._lease_ms = lease_seconds * 1000
        self._check_tenant = check_tenant
        self._verified = VerifiedRegistrations()

    async def register(self, registration: WorkerRegistration) -> Registered:
        """Register a worker process with its short-lived public key. Raises Refused; both outcomes are audited first."""
        now_unix_ms = self._now_unix_ms()
        try:
            self._enrolled.check(registration, now_unix_ms)
            await self._database.audit(_register_act(registration, AuditOutcome.DONE))
            await self._workers.register(registration)
        except BadRegistration as error:
            _log.warning("a worker's registration is refused", extra={"why": str(error)})
            await self._audit_refusal(_register_act(registration, AuditOutcome.REFUSED, why=str(error)))
            raise Refused(ErrorCode.INVALID, str(error)) from None
        except DatabaseUnavailable:
            raise Refused(ErrorCode.UNAVAILABLE, _UNAVAILABLE) from None
        self._verified.put(registration, now_unix_ms)
        return Registered(instance_id=registration.instance_id)

    async def on_lease(self, received: ReceivedMessage[LeaseKey]) -> SealedKey:
        """Answer a lease request of the worker that the subject names; the server checks the subject. Raises Refused."""
        return await self.lease(received.token(_WORKER_TOKEN), received.message)

    async def lease(self, worker_id: str, request: LeaseKey) -> SealedKey:
        """Return the key, signed and sealed to the requesting process. The bus vouches for `worker_id`.

        Raises Refused: CONFLICT for a process that has to register again, NOT_FOUND for a key that is missing or cannot be
        used, INVALID for a request that gets no key itself, UNAVAILABLE while the vault cannot decide. A lease and a refusal are
        audited, and committed, before this returns.
        """
        began = time.perf_counter()
        result = UNAVAILABLE
        try:
            sealed = await self._lease(worker_id, request)
            result = GRANTED
        except RequestRejected as error:
            result = REFUSED
            await self._audit_refusal(_lease_act(worker_id, request, AuditOutcome.REFUSED, why=error.message))
            if isinstance(error, NotGranted):
                await self._alarms.on_not_granted(worker_id, request.tenant)
            raise Refused(error.code, error.message) from None
        except DatabaseUnavailable:
            raise Refused(ErrorCode.UNAVAILABLE, _UNAVAILABLE) from None
        finally:
            LEASES.inc(result)
            LEASE_DURATION.observe(time.perf_counter() - began)
        await self._alarms.on_released(worker_id, request)
        return sealed

    async def test_key(
        self, facts: KeyFacts, key: Secret, base_url: str, fields: Mapping[str, str], model: str | None
    ) -> KeyTest:
        """Have a registered worker test a key, trying the next where one is gone. Raises NoWorker, DatabaseUnavailable.

        `facts` of a key that is not stored yet are those it will have.
        """
        started = self._clock()
        for worker in await self._list_live_workers(started):
            now = self._clock()
            if now - started > timedelta(seconds=KEY_TEST_SECONDS / 2):
                break  # the caller's timeout leaves no time for another worker
            sealed = seal_to_worker(
                key,
                self._signer,
                worker,
                facts,
                purpose=Purpose.KEY_TEST,
                tenant=facts.tenant,
                nonce=to_base64(token_bytes(NONCE_BYTES)),
                not_after_unix_ms=_unix_ms(now) + self._lease_ms,
            )
            command = RunKeyTest(key=sealed, base_url=base_url, fields=dict(fields), model=model)
            try:
                return await self._ask_worker(worker.worker_id, command)
            except (Refused, BusError) as error:
                _log.info("a worker did not test a key", extra={"worker": worker.worker_id, "why": str(error)})
        raise NoWorker("no provider worker could test the key")

    async def _lease(self, worker_id: str, request: LeaseKey) -> SealedKey:
        now_unix_ms = self._now_unix_ms()
        check_request(request, now_unix_ms)
        if self._grants is not None:
            self._grants.check(worker_id, request, now_unix_ms)
        self._check_tenant(request)
        worker = await self._get_registration(worker_id, request.instance_id, now_unix_ms)
        key, secret = await self._lease_and_decrypt(worker_id, request, now_unix_ms)
        return seal_to_worker(
            secret,
            self._signer,
            worker,
            key,
            purpose=Purpose.LEASE,
            tenant=request.tenant,
            nonce=request.nonce,
            not_after_unix_ms=lease_end_unix_ms(request, key, self._lease_ms),
        )

    async def _lease_and_decrypt(
        self, worker_id: str, request: LeaseKey, now_unix_ms: int
    ) -> tuple[ProviderKey, Secret]:
        nonce = Nonce(
            f"{worker_id}/{request.instance_id}/{request.nonce}",
            datetime.fromtimestamp((request.sent_at_unix_ms + MAX_SKEW_MS + 1000) / 1000, UTC),
        )
        now = datetime.fromtimestamp(now_unix_ms / 1000, UTC)
        try:
            leased = await self._leases.lease(
                request.owner,
                request.key_id,
                _lease_act(worker_id, request, AuditOutcome.DONE),
                nonce,
                check=lambda key: check_key(key, request, now_unix_ms),
                criteria=LeaseCriteria(request.provider, request.origin, now),
            )
            if leased is None:
                raise RequestRejected(
                    ErrorCode.NOT_FOUND,
                    f"{request.owner} has no key {request.key_id}: it was removed, or never existed",
                )
            return leased.key, await self._encryption.decrypt(leased.key, leased.record, leased.data_key)
        except Replayed:
            raise RequestRejected(
                ErrorCode.INVALID, "this lease request was answered before; a nonce is good once"
            ) from None
        except Undecryptable:
            raise RequestRejected(
                ErrorCode.NOT_FOUND,
                f"the vault cannot decrypt the record of {request.key_id}; `keyferry vault verify` shows why",
            ) from None
        except KekUnavailable:
            raise RequestRejected(
                ErrorCode.UNAVAILABLE, "the vault's KEK provider does not respond; try again in a moment"
            ) from None

    async def _get_registration(self, worker_id: str, instance_id: str, now_unix_ms: int) -> WorkerRegistration:
        if (verified := self._verified.get(worker_id, instance_id, now_unix_ms)) is not None:
            return verified
        stored = await self._workers.get(worker_id, instance_id)
        if stored is None or (stored.worker_id, stored.instance_id) != (worker_id, instance_id):
            raise RequestRejected(
                ErrorCode.CONFLICT, f"this process of {worker_id} is not registered with the vault: register it"
            )
        try:
            self._enrolled.check(stored, now_unix_ms)
        except BadRegistration as error:
            raise RequestRejected(ErrorCode.CONFLICT, str(error)) from None
        self._verified.put(stored, now_unix_ms)
        return stored

    async def _list_live_workers(self, now: datetime) -> list[WorkerRegistration]:
        """Return the newest valid registration of each worker."""
        live: dict[str, WorkerRegistration] = {}
        for worker in await self._workers.list_live(now):
            try:
                self._enrolled.check(worker, _unix_ms(now))
            except BadRegistration as error:
                _log.error("a stored registration is not valid", extra={"why": str(error)})
                continue
            live.setdefault(worker.worker_id, worker)
        return list(live.values())

    async def _audit_refusal(self, act: Act) -> None:
        """Audit a refusal. Raises Refused where the database is unavailable: then the caller gets that answer instead."""
        try:
            await self._database.audit(act)
        except DatabaseUnavailable:
            raise Refused(ErrorCode.UNAVAILABLE, _UNAVAILABLE) from None

    def _now_unix_ms(self) -> int:
        return _unix_ms(self._clock())


def _register_act(registration: WorkerRegistration, outcome: AuditOutcome, **details: str) -> Act:
    return Act(
        actor=_shorten(registration.worker_id),
        action=_REGISTER_ACTION,
        tenant=PLATFORM_TENANT,
        target=_shorten(registration.instance_id),
        outcome=outcome,
        details=details,
    )


def _lease_act(worker_id: str, request: LeaseKey, outcome: AuditOutcome, **details: str) -> Act:
    return Act(
        actor=worker_id,
        action=_LEASE_ACTION,
        tenant=request.owner,
        target=request.key_id,
        outcome=outcome,
        details={
            "for_tenant": request.tenant,
            "attempt": request.attempt_id[:64],
            **({} if request.request_id is None else {"request": request.request_id[:64]}),
            "instance": request.instance_id[:64],
            **details,
        },
    )


def _shorten(text: str) -> str:
    """Cut a claimed name to the length that an audit event takes."""
    return text[:64] or "unnamed"


def _unix_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
