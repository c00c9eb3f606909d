"""Gets the key of an attempt: from the cache while its lease and the view allow it, else from the vault.

Every request has a nonce of its own, and a reply is accepted only by the request that waits for it, so a reply that a hostile
bus records and replays is never used. Attempts that need the same key at the same time share one request (single-flight).

A short outage of the vault fails no attempt: the request is repeated, with a fresh nonce, for as long as an attempt waits. The
number of concurrent requests is limited, and one that got no reply keeps its slot while it pauses, so that a vault that is down
or starting never meets more than these.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from secrets import token_bytes

from nats.errors import Error as NatsError

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.credit import CreditCertificate
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.lease import LeaseKey, RunKeyTest, SealedKey
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.traces import SpanKind
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.tracing.span import child_span
from keyferry.sealing.delivery import NONCE_BYTES, InvalidDelivery, Purpose, check_delivery, open_sealed
from keyferry.sealing.framing import to_base64
from keyferry.sealing.grant import MalformedGrant, parse_grant
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import RefusedByAdapter
from services.provider_worker.keys.lease_cache import LeaseCache, Now, is_usable
from services.provider_worker.keys.metrics import CACHED, KEY_LEASES, LEASED, REFUSED, UNAVAILABLE
from services.provider_worker.keys.registrar import NotRegistered, Registrar, VaultUnavailable, unix_ms_now

_log = logging.getLogger(__name__)

LEASE_SECONDS = 3.0
"""How long an attempt waits that has another candidate. The vault replies within milliseconds; past this, try elsewhere."""
LAST_CANDIDATE_SECONDS = 30.0
"""How long an attempt waits without another candidate, within its own deadline: what a crashed vault needs to restart."""
_REPLY_TIMEOUTS = Backoff(first_seconds=1.0, longest_seconds=LEASE_SECONDS)
"""For one request: a vault killed while handling it never replies, and its successor has to be asked anew."""
_PAUSES = Backoff(first_seconds=0.05, longest_seconds=1.0, jitter=0.5)
_MAX_CONCURRENT = 64
"""Requests to the vault at the same time."""
_MAX_TEST_NONCES = 10_000
_NO_REPLY = "the key vault does not answer; try again in a moment"

AskForKey = Callable[[LeaseKey], Awaitable[SealedKey]]
"""Raises Refused, BusError, and nats-py's errors when the bus is unavailable."""


class KeyUnavailable(RefusedByAdapter):
    """The key for an attempt could not be leased: nothing was sent, and another candidate may have one.

    `request_invalid` says that the fault is in the attempt's own request for it: another's may be granted. `refused` says that
    the vault has decided so.
    """

    def __init__(self, message: str, *, request_invalid: bool = False, refused: bool = False) -> None:
        self.request_invalid = request_invalid
        self.refused = refused
        super().__init__(
            Failure(
                failure_class=FailureClass.UNAVAILABLE, message=f"nothing was sent: {message}", where=Where.NOT_SENT
            )
        )


class _Retryable(Exception):
    """The vault did not reply, or could not look the key up; another request may succeed."""

    def __init__(self, reason: str, *, replied: bool = False) -> None:
        super().__init__(reason)
        self.replied = replied


_LeaseId = tuple[str, str, str, str]
"""Owner, key id, provider, origin."""


@dataclass(slots=True, eq=False)
class _InFlightRequest:
    """A request to the vault. It goes on for as long as an attempt waits for it."""

    task: "asyncio.Task[LeasedKey] | None" = None
    attempt_id: str = ""
    """The attempt for whose request the vault is asked."""
    waiting: int = 0
    reason: str = _NO_REPLY
    """Why there is no key yet."""


class LeaseClient:
    """Leases provider keys for one worker process.

    `facts_of` looks up the view of provider keys, by `<owner>.<key id>`. `current` says whether that view is complete and
    follows the bus now: while it may have missed a revocation, no key is cached. Once `max_waiting` attempts wait for the vault,
    further ones wait only briefly: the worker has others to make, whose keys are cached.
    """

    def __init__(
        self,
        *,
        registrar: Registrar,
        ask: AskForKey,
        facts_of: Callable[[str], KeyFacts | None],
        current: Callable[[], bool],
        instance_id: str,
        max_waiting: int = 1000,
        unix_ms: Callable[[], int] = unix_ms_now,
    ) -> None:
        self._max_waiting = max_waiting
        self._waiting = 0
        self._registrar = registrar
        self._ask = ask
        self._facts_of = facts_of
        self._current = current
        self._instance_id = instance_id
        self._unix_ms = unix_ms
        self._cache = LeaseCache()
        self._in_flight: dict[_LeaseId, _InFlightRequest] = {}
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._used_test_nonces: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._cache)

    async def lease(self, run: AttemptRun, origin: str, body: bytes) -> LeasedKey:
        """Return the key that pays for an attempt, for a request to `origin`. Raises KeyUnavailable.

        The vault decides and not the view: a key just added may have reached the router's view before this worker's. While the
        vault is unavailable, wait LEASE_SECONDS where the attempt has other candidates, else LAST_CANDIDATE_SECONDS.
        """
        began = time.perf_counter()
        result = UNAVAILABLE
        try:
            key, result = await self._get(run, origin, body)
        except KeyUnavailable as error:
            result = REFUSED if error.refused else UNAVAILABLE
            raise
        finally:
            KEY_LEASES.observe(time.perf_counter() - began, result)
        return key

    async def _get(self, run: AttemptRun, origin: str, body: bytes) -> tuple[LeasedKey, str]:
        """Return the key of an attempt, and where it came from. Raises KeyUnavailable."""
        if run.key_id is None:
            raise ValueError("an attempt without a key has nothing to lease")
        owner = run.key_owner or run.tenant
        if (cached := self._cached(owner, run.key_id)) is not None and cached.origin == origin:
            return cached, CACHED
        check_body(run, body)
        with child_span("provider_worker.lease", SpanKind.CLIENT):
            return await self._lease(run, (owner, run.key_id, run.provider, origin)), LEASED

    async def _lease(self, run: AttemptRun, lease_id: _LeaseId) -> LeasedKey:
        """Return the key that the vault gives for an attempt. Raises KeyUnavailable."""
        long = not run.remaining_candidates and self._waiting < self._max_waiting
        give_up_at = time.monotonic() + (LAST_CANDIDATE_SECONDS if long else LEASE_SECONDS)
        while True:
            request = self._in_flight.get(lease_id)
            if request is None or request.task is None or request.task.done():
                request = self._begin(lease_id, run)
            try:
                return await self._wait(lease_id, request, give_up_at - time.monotonic())
            except KeyUnavailable as error:
                # Of what another attempt asked for, only the answer is shared, and not what was wrong with its request.
                if not error.request_invalid or request.attempt_id == run.attempt_id:
                    raise

    def _begin(self, lease_id: _LeaseId, run: AttemptRun) -> _InFlightRequest:
        """Ask the vault for the sake of an attempt."""
        owner, key_id, _, origin = lease_id
        request = self._in_flight[lease_id] = _InFlightRequest(attempt_id=run.attempt_id)
        work = self._request_until_leased(request, run, key_id, owner, origin)
        request.task = asyncio.create_task(work, name=f"lease {key_id}")
        request.task.add_done_callback(lambda _: self._remove(lease_id, request))
        return request

    def open_test_key(self, command: RunKeyTest) -> LeasedKey:
        """Open the key that the vault wants tested; each delivery is accepted once. Raises InvalidDelivery."""
        now_unix_ms = self._unix_ms()
        if command.key.not_after_unix_ms <= now_unix_ms:
            raise InvalidDelivery(
                "the key was delivered for a test whose time is over: see that the clocks agree (NTP)"
            )
        key = open_sealed(command.key, self._registrar.recipient, Purpose.KEY_TEST)
        self._used_test_nonces = {nonce: end for nonce, end in self._used_test_nonces.items() if end > now_unix_ms}
        if command.key.nonce in self._used_test_nonces or len(self._used_test_nonces) >= _MAX_TEST_NONCES:
            raise InvalidDelivery("this test key was delivered before")
        self._used_test_nonces[command.key.nonce] = command.key.not_after_unix_ms
        return key

    def evict_unusable(self) -> None:
        """Evict what the view no longer allows: removed, rotated, disabled, over its limit, expired."""
        unix_ms = self._unix_ms()
        for key in self._cache.all():
            if not is_usable(key, self._facts_of(f"{key.owner}.{key.key_id}"), unix_ms):
                self._cache.evict(key)

    def evict_all(self) -> None:
        """Evict everything, because the connection was lost, and perhaps a revocation with it."""
        self._cache.clear()

    # --- inside

    def _cached(self, owner: str, key_id: str) -> LeasedKey | None:
        if not self._current():
            self._cache.clear()
            return None
        return self._cache.get(owner, key_id, self._facts_of(f"{owner}.{key_id}"), self._now())

    async def _wait(self, lease_id: _LeaseId, request: _InFlightRequest, seconds: float) -> LeasedKey:
        """Wait up to `seconds` for a request. Raises KeyUnavailable. A request that no attempt waits for is cancelled."""
        assert request.task is not None
        request.waiting += 1
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                # One attempt's deadline must not end the request that others wait for, too.
                return await asyncio.shield(request.task)
        except TimeoutError:
            raise KeyUnavailable(request.reason) from None
        finally:
            request.waiting -= 1
            self._waiting -= 1
            if not request.waiting and not request.task.done():
                request.task.cancel()
                self._remove(lease_id, request)

    async def _request_until_leased(
        self, request: _InFlightRequest, run: AttemptRun, key_id: str, owner: str, origin: str
    ) -> LeasedKey:
        failures = 0
        while True:
            pause_seconds = _PAUSES.delay_seconds(failures, random.random())
            async with self._slots:
                try:
                    return await self._try(run, key_id, owner, origin, _REPLY_TIMEOUTS.delay_seconds(failures))
                except _Retryable as error:
                    request.reason, replied = str(error), error.replied
                if not replied:
                    await asyncio.sleep(pause_seconds)
            if replied:  # the vault is up, and the trouble may be this key's alone: let others use the slot meanwhile
                await asyncio.sleep(pause_seconds)
            failures += 1

    async def _try(self, run: AttemptRun, key_id: str, owner: str, origin: str, reply_seconds: float) -> LeasedKey:
        """Request the key, after registering where that is needed. Raises KeyUnavailable if final, else _Retryable."""
        try:
            await self._registrar.wait_registered(LEASE_SECONDS)
            try:
                return await self._request(run, key_id, owner, origin, reply_seconds)
            except Refused as error:
                if error.refusal.code is not ErrorCode.CONFLICT:
                    raise
            # The vault does not know this process, or not any more.
            async with asyncio.timeout(LEASE_SECONDS):
                await self._registrar.reregister()
            return await self._request(run, key_id, owner, origin, reply_seconds)
        except Refused as error:
            if error.refusal.code is ErrorCode.UNAVAILABLE:
                raise _Retryable(str(error), replied=True) from None
            invalid = error.refusal.code is ErrorCode.INVALID
            raise KeyUnavailable(str(error), request_invalid=invalid, refused=True) from None
        except InvalidDelivery as error:
            _log.error("rejected a delivered key", extra={"key_id": key_id, "why": str(error)})
            raise KeyUnavailable(str(error)) from None
        except VaultUnavailable as error:
            raise _Retryable(f"this worker cannot get keys: {error}") from None
        except NotRegistered as error:
            raise KeyUnavailable(f"this worker cannot get keys: {error}") from None
        except MalformedMessage:
            raise KeyUnavailable(_NO_REPLY) from None
        except (BusError, NatsError, TimeoutError):
            raise _Retryable(_NO_REPLY) from None

    async def _request(self, run: AttemptRun, key_id: str, owner: str, origin: str, reply_seconds: float) -> LeasedKey:
        before = self._now()
        command = LeaseKey(
            instance_id=self._instance_id,
            tenant=run.tenant,
            owner=owner,
            provider=run.provider,
            key_id=key_id,
            origin=origin,
            attempt_id=run.attempt_id,
            nonce=to_base64(token_bytes(NONCE_BYTES)),
            sent_at_unix_ms=before.unix_ms,
            request_id=run.request_id,
            grant=run.grant,
            certificate=_certificate_of(run, owner),
        )
        async with asyncio.timeout(reply_seconds):
            sealed = await self._ask(command)
        check_delivery(sealed, command)
        key = open_sealed(sealed, self._registrar.recipient, Purpose.LEASE)
        self._store(key, before)
        return key

    def _store(self, key: LeasedKey, before: Now) -> None:
        """Cache a key until its lease ends by either clock, counted from before it was requested."""
        left_ms = key.not_after_unix_ms - before.unix_ms
        facts = self._facts_of(f"{key.owner}.{key.key_id}")
        if not self._current() or not is_usable(key, facts, self._unix_ms()):
            return  # the view is behind, or ahead: the key serves this attempt, and the next one asks again
        self._cache.put(key, before.monotonic_ms + left_ms)
        asyncio.get_running_loop().call_later(left_ms / 1000 + 0.001, self._evict_expired)

    def _evict_expired(self) -> None:
        self._cache.evict_expired(self._now())

    def _now(self) -> Now:
        return Now(self._unix_ms(), time.monotonic_ns() // 1_000_000)

    def _remove(self, lease_id: _LeaseId, request: _InFlightRequest) -> None:
        if self._in_flight.get(lease_id) is request:
            del self._in_flight[lease_id]
        if request.task is not None and request.task.done() and not request.task.cancelled():
            request.task.exception()  # every attempt that waited has seen it; without any, nobody needs it


def check_body(run: AttemptRun, body: bytes) -> None:
    """Check that the body is the one that the grant of the request is for. Raises KeyUnavailable.

    The vault knows who signed the grant, and this worker has the body: together they see that no router exchanged it. Whether
    there has to be a grant, and what it is worth, is the vault's to say.
    """
    if run.grant is None:
        return
    try:
        covered = parse_grant(run.grant).covers(body)
    except MalformedGrant as error:
        raise KeyUnavailable(f"the request's grant cannot be read: {error}", request_invalid=True) from None
    if not covered:
        _log.error("a request's body is not the one that was granted", extra={"request_id": run.request_id})
        raise KeyUnavailable("the request's body is not the one that its grant is for", request_invalid=True)


def _certificate_of(run: AttemptRun, owner: str) -> CreditCertificate | None:
    return run.reservation.certificate if run.reservation is not None and owner == PLATFORM_TENANT else None
