"""Gets the key of an attempt: from memory while its lease and the view allow it, else from the vault.

Every lease has a nonce of its own, and an answer is taken only by the request that waits for it: what a hostile bus keeps and
plays again finds nobody. Attempts that want the same key at the same time share one request.

A vault that is away for a moment fails nobody: it is asked again, each time with a fresh nonce, for as long as an attempt waits.
Only so many keys are asked for at once, and a question that nobody answered keeps its place while it pauses: however many wait,
a vault that is away or comes back meets no more than these.
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
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.key import KeyFacts, LeaseKey, RunKeyTest, SealedKey
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.sealing.delivery import NONCE_BYTES, InvalidDelivery, Purpose, answers, open_sealed
from keyferry.sealing.framing import to_base64
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import RefusedByAdapter
from services.provider_worker.keys.lease_cache import LeaseCache, Now, is_usable
from services.provider_worker.keys.registrar import NotRegistered, Registrar, VaultUnavailable, unix_ms_now

_log = logging.getLogger(__name__)

LEASE_SECONDS = 3.0
"""For the vault's answer: it takes milliseconds, and an attempt that can be made elsewhere should be when it takes longer."""
LAST_CANDIDATE_SECONDS = 30.0
"""For an attempt that has nowhere else to go: what a crashed vault takes to be back, within the attempt's own deadline."""
_ANSWER_TIMEOUTS = Backoff(first_seconds=1.0, longest_seconds=LEASE_SECONDS)
"""For one request: a vault killed while handling it never replies, and its successor has to be asked anew."""
_PAUSES = Backoff(first_seconds=0.05, longest_seconds=1.0, jitter=0.5)
_MAX_CONCURRENT = 64
"""Keys that are asked for at the same time."""
_MAX_TEST_NONCES = 10_000
_NO_REPLY = "the key vault does not answer; try again in a moment"

AskForKey = Callable[[LeaseKey], Awaitable[SealedKey]]
"""Raises Refused, BusError, and nats-py's errors when the bus is away."""


class KeyUnavailable(RefusedByAdapter):
    """The key for an attempt could not be had: nothing was sent, and another candidate may have one."""

    def __init__(self, message: str) -> None:
        super().__init__(
            Failure(
                failure_class=FailureClass.UNAVAILABLE, message=f"nothing was sent: {message}", where=Where.NOT_SENT
            )
        )


class _Away(Exception):
    """The vault did not answer, or could not look; asked again it may."""

    def __init__(self, why: str, *, heard: bool = False) -> None:
        super().__init__(why)
        self.heard = heard
        """Whether it was there to say so."""


@dataclass(slots=True, eq=False)
class _InFlightRequest:
    """A key on its way. It goes on for as long as somebody waits for it."""

    task: "asyncio.Task[LeasedKey] | None" = None
    waiting: int = 0
    why: str = _NO_REPLY
    """Why it is not here yet."""


class LeaseClient:
    """The leased keys of one worker process.

    `facts_of` is the view of provider keys, by `<owner>.<key id>`. `current` tells whether that view is whole and follows the
    bus now: a copy that may have missed a revocation allows nothing to be kept. With more than `most_waiting` attempts that wait
    for the vault the next ones do not wait long: the worker has others to make, whose keys are at hand.
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
        self._in_flight: dict[tuple[str, str, str, str], _InFlightRequest] = {}
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._used_test_nonces: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._cache)

    async def lease(self, run: AttemptRun, origin: str) -> LeasedKey:
        """The key that pays for an attempt, for a request to `origin`. Raises KeyUnavailable.

        At the vault's word and not the view's: a key that was just added may be in the router's copy before it is in ours.
        While the vault is away it waits for LEASE_SECONDS where the attempt has alternatives, else for LAST_RESORT_SECONDS.
        """
        if run.key_id is None:
            raise ValueError("an attempt without a key has nothing to lease")
        owner = run.key_owner or run.tenant
        if (held := self._held(owner, run.key_id)) is not None and held.origin == origin:
            return held
        asked = (owner, run.key_id, run.provider, origin)
        if (request_in_flight := self._in_flight.get(asked)) is None:
            request_in_flight = self._in_flight[asked] = _InFlightRequest()
            work = self._lease(request_in_flight, run, run.key_id, owner, origin)
            request_in_flight.task = asyncio.create_task(work, name=f"lease {run.key_id}")
            request_in_flight.task.add_done_callback(lambda _: self._over(asked, request_in_flight))
        patient = not run.remaining_candidates and self._waiting < self._max_waiting
        return await self._waited(asked, request_in_flight, LAST_CANDIDATE_SECONDS if patient else LEASE_SECONDS)

    def open_test_key(self, check: RunKeyTest) -> LeasedKey:
        """The key that the vault wants tested; each delivery is taken once. Raises InvalidDelivery."""
        now_unix_ms = self._unix_ms()
        if check.key.not_after_unix_ms <= now_unix_ms:
            raise InvalidDelivery(
                "the key was delivered for a test whose time is over: see that the clocks agree (NTP)"
            )
        key = open_sealed(check.key, self._registrar.recipient, Purpose.CHECK)
        self._used_test_nonces = {nonce: end for nonce, end in self._used_test_nonces.items() if end > now_unix_ms}
        if check.key.nonce in self._used_test_nonces or len(self._used_test_nonces) >= _MAX_TEST_NONCES:
            raise InvalidDelivery("this test was asked for before")
        self._used_test_nonces[check.key.nonce] = check.key.not_after_unix_ms
        return key

    def view_changed(self) -> None:
        """Drop what the view does not allow any more: removed, rotated, switched off, over its limit, expired."""
        unix_ms = self._unix_ms()
        for key in self._cache.held():
            if not is_usable(key, self._facts_of(f"{key.owner}.{key.key_id}"), unix_ms):
                self._cache.forget(key)

    def evict_all(self) -> None:
        """Drop everything: the connection was lost, and with it perhaps a revocation."""
        self._cache.clear()

    # --- inside

    def _held(self, owner: str, key_id: str) -> LeasedKey | None:
        if not self._current():
            self._cache.clear()
            return None
        return self._cache.get(owner, key_id, self._facts_of(f"{owner}.{key_id}"), self._now())

    async def _waited(
        self, asked: tuple[str, str, str, str], request_in_flight: _InFlightRequest, seconds: float
    ) -> LeasedKey:
        """What a flight brings within `seconds`. Raises KeyUnavailable. A flight that nobody waits for any more is called off."""
        assert request_in_flight.task is not None
        request_in_flight.waiting += 1
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                # One attempt's deadline must not end the request that others wait for, too.
                return await asyncio.shield(request_in_flight.task)
        except TimeoutError:
            raise KeyUnavailable(request_in_flight.why) from None
        finally:
            request_in_flight.waiting -= 1
            self._waiting -= 1
            if not request_in_flight.waiting and not request_in_flight.task.done():
                request_in_flight.task.cancel()
                self._over(asked, request_in_flight)

    async def _lease(
        self, request_in_flight: _InFlightRequest, run: AttemptRun, key_id: str, owner: str, origin: str
    ) -> LeasedKey:
        failures = 0
        while True:
            pause_seconds = _PAUSES.delay_seconds(failures, random.random())
            async with self._slots:
                try:
                    return await self._once(run, key_id, owner, origin, _ANSWER_TIMEOUTS.delay_seconds(failures))
                except _Away as away:
                    request_in_flight.why, heard = str(away), away.heard
                if not heard:
                    await asyncio.sleep(pause_seconds)
            if heard:  # others may fare better meanwhile: it is there, and what it cannot do may be this key's alone
                await asyncio.sleep(pause_seconds)
            failures += 1

    async def _once(self, run: AttemptRun, key_id: str, owner: str, origin: str, answer_seconds: float) -> LeasedKey:
        """Ask, and register before where that is needed. Raises KeyUnavailable for what will not change, and _Away."""
        try:
            await self._registrar.wait_registered(LEASE_SECONDS)
            try:
                return await self._asked(run, key_id, owner, origin, answer_seconds)
            except Refused as error:
                if error.refusal.code is not ErrorCode.CONFLICT:
                    raise
            # The vault has forgotten this process, or never heard of it.
            async with asyncio.timeout(LEASE_SECONDS):
                await self._registrar.reregister()
            return await self._asked(run, key_id, owner, origin, answer_seconds)
        except Refused as error:
            if error.refusal.code is ErrorCode.UNAVAILABLE:
                raise _Away(str(error), heard=True) from None
            raise KeyUnavailable(str(error)) from None
        except InvalidDelivery as error:
            _log.error("a delivered key was not taken", extra={"key_id": key_id, "why": str(error)})
            raise KeyUnavailable(str(error)) from None
        except VaultUnavailable as error:
            raise _Away(f"this worker cannot get keys: {error}") from None
        except NotRegistered as error:
            raise KeyUnavailable(f"this worker cannot get keys: {error}") from None
        except MalformedMessage:
            raise KeyUnavailable(_NO_REPLY) from None
        except (BusError, NatsError, TimeoutError):
            raise _Away(_NO_REPLY) from None

    async def _asked(self, run: AttemptRun, key_id: str, owner: str, origin: str, answer_seconds: float) -> LeasedKey:
        before = self._now()
        question = LeaseKey(
            instance_id=self._instance_id,
            tenant=run.tenant,
            owner=owner,
            provider=run.provider,
            key_id=key_id,
            origin=origin,
            attempt_id=run.attempt_id,
            nonce=to_base64(token_bytes(NONCE_BYTES)),
            sent_at_unix_ms=before.unix_ms,
        )
        async with asyncio.timeout(answer_seconds):
            sealed = await self._ask(question)
        answers(sealed, question)
        key = open_sealed(sealed, self._registrar.recipient, Purpose.LEASE)
        self._keep(key, before)
        return key

    def _keep(self, key: LeasedKey, before: Now) -> None:
        """Hold a key until its lease, counted from before it was asked for, is over by either clock."""
        left_ms = key.not_after_unix_ms - before.unix_ms
        facts = self._facts_of(f"{key.owner}.{key.key_id}")
        if not self._current() or not is_usable(key, facts, self._unix_ms()):
            return  # the view is behind, or ahead: the key serves this attempt, and the next one asks again
        self._cache.put(key, before.monotonic_ms + left_ms)
        asyncio.get_running_loop().call_later(left_ms / 1000 + 0.001, self._forget_over)

    def _forget_over(self) -> None:
        self._cache.evict_expired(self._now())

    def _now(self) -> Now:
        return Now(self._unix_ms(), time.monotonic_ns() // 1_000_000)

    def _over(self, asked: tuple[str, str, str, str], request_in_flight: _InFlightRequest) -> None:
        if self._in_flight.get(asked) is request_in_flight:
            del self._in_flight[asked]
        if (
            request_in_flight.task is not None
            and request_in_flight.task.done()
            and not request_in_flight.task.cancelled()
        ):
            request_in_flight.task.exception()  # every attempt that waited has met it; without any, nobody asks any more
