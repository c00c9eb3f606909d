"""Gets the key of an attempt: from memory while its lease and the view allow it, else from the vault.

Every lease has a nonce of its own, and an answer is taken only by the request that waits for it: what a hostile bus keeps and
plays again finds nobody. Attempts that want the same key at the same time share one request.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from secrets import token_bytes

from nats.errors import Error as NatsError

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.key import CheckKey, KeyFacts, LeaseKey, SealedKey
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus import BusError, Refused
from keyferry.sealing.delivery import NONCE_BYTES, NotDelivered, Purpose, answers, open_sealed
from keyferry.sealing.framing import to_base64
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import RefusedByAdapter
from services.provider_worker.keys.cache import LeaseCache, Now, still_good
from services.provider_worker.keys.registering import NotRegistered, Registrar, unix_ms_now

_log = logging.getLogger(__name__)

LEASE_SECONDS = 3.0
"""For the vault's answer: it takes milliseconds, and an attempt that waits longer should try elsewhere."""
_MANY_CHECKS = 10_000

AskForKey = Callable[[LeaseKey], Awaitable[SealedKey]]
"""Raises Refused, BusError, and nats-py's errors when the bus is away."""


class NoKey(RefusedByAdapter):
    """The key for an attempt could not be had: nothing was sent, and another candidate may have one."""

    def __init__(self, message: str) -> None:
        super().__init__(
            Failure(
                failure_class=FailureClass.UNAVAILABLE, message=f"nothing was sent: {message}", where=Where.NOT_SENT
            )
        )


class KeyRing:
    """The leased keys of one worker process.

    `facts_of` is the view of provider keys, by `<owner>.<key id>`. `current` tells whether that view is whole and follows the
    bus now: a copy that may have missed a revocation allows nothing to be kept.
    """

    def __init__(
        self,
        *,
        registrar: Registrar,
        ask: AskForKey,
        facts_of: Callable[[str], KeyFacts | None],
        current: Callable[[], bool],
        boot_id: str,
        unix_ms: Callable[[], int] = unix_ms_now,
    ) -> None:
        self._registrar = registrar
        self._ask = ask
        self._facts_of = facts_of
        self._current = current
        self._boot_id = boot_id
        self._unix_ms = unix_ms
        self._cache = LeaseCache()
        self._under_way: dict[tuple[str, str, str, str], asyncio.Task[LeasedKey]] = {}
        self._taken_checks: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._cache)

    async def lease(self, run: AttemptRun, origin: str) -> LeasedKey:
        """The key that pays for an attempt, for a request to `origin`. Raises NoKey.

        At the vault's word and not the view's: a key that was just added may be in the router's copy before it is in ours.
        """
        if run.key_id is None:
            raise ValueError("an attempt without a key has nothing to lease")
        owner = run.key_owner or run.tenant
        if (held := self._held(owner, run.key_id)) is not None and held.origin == origin:
            return held
        asked = (owner, run.key_id, run.provider, origin)
        if (task := self._under_way.get(asked)) is None:
            task = asyncio.create_task(self._lease(run, run.key_id, owner, origin), name=f"lease {run.key_id}")
            self._under_way[asked] = task
            task.add_done_callback(lambda done: self._over(asked, done))
        # One attempt's deadline must not end the request that others wait for, too.
        return await asyncio.shield(task)

    def open_check(self, check: CheckKey) -> LeasedKey:
        """The key that the vault wants tested; each delivery is taken once. Raises NotDelivered."""
        now_unix_ms = self._unix_ms()
        if check.key.not_after_unix_ms <= now_unix_ms:
            raise NotDelivered("the key was delivered for a test whose time is over: see that the clocks agree (NTP)")
        key = open_sealed(check.key, self._registrar.recipient, Purpose.CHECK)
        self._taken_checks = {nonce: end for nonce, end in self._taken_checks.items() if end > now_unix_ms}
        if check.key.nonce in self._taken_checks or len(self._taken_checks) >= _MANY_CHECKS:
            raise NotDelivered("this test was asked for before")
        self._taken_checks[check.key.nonce] = check.key.not_after_unix_ms
        return key

    def view_changed(self) -> None:
        """Drop what the view does not allow any more: removed, rotated, switched off, over its limit, expired."""
        unix_ms = self._unix_ms()
        for key in self._cache.held():
            if not still_good(key, self._facts_of(f"{key.owner}.{key.key_id}"), unix_ms):
                self._cache.forget(key)

    def forget_all(self) -> None:
        """Drop everything: the connection was lost, and with it perhaps a revocation."""
        self._cache.clear()

    # --- inside

    def _held(self, owner: str, key_id: str) -> LeasedKey | None:
        if not self._current():
            self._cache.clear()
            return None
        return self._cache.get(owner, key_id, self._facts_of(f"{owner}.{key_id}"), self._now())

    async def _lease(self, run: AttemptRun, key_id: str, owner: str, origin: str) -> LeasedKey:
        try:
            async with asyncio.timeout(LEASE_SECONDS):
                await self._registrar.until_registered(LEASE_SECONDS)
                try:
                    return await self._asked(run, key_id, owner, origin)
                except Refused as error:
                    if error.refusal.code is not ErrorCode.CONFLICT:
                        raise
                # The vault has forgotten this process, or never heard of it.
                await self._registrar.register_again()
                return await self._asked(run, key_id, owner, origin)
        except Refused as error:
            raise NoKey(str(error)) from None
        except NotDelivered as error:
            _log.error("a delivered key was not taken", extra={"key_id": key_id, "why": str(error)})
            raise NoKey(str(error)) from None
        except NotRegistered as error:
            raise NoKey(f"this worker cannot get keys: {error}") from None
        except (BusError, NatsError, TimeoutError, MalformedMessage):
            raise NoKey("the key vault does not answer; try again in a moment") from None

    async def _asked(self, run: AttemptRun, key_id: str, owner: str, origin: str) -> LeasedKey:
        before = self._now()
        question = LeaseKey(
            boot_id=self._boot_id,
            tenant=run.tenant,
            owner=owner,
            provider=run.provider,
            key_id=key_id,
            origin=origin,
            attempt_id=run.attempt_id,
            nonce=to_base64(token_bytes(NONCE_BYTES)),
            sent_at_unix_ms=before.unix_ms,
        )
        sealed = await self._ask(question)
        answers(sealed, question)
        key = open_sealed(sealed, self._registrar.recipient, Purpose.LEASE)
        self._keep(key, before)
        return key

    def _keep(self, key: LeasedKey, before: Now) -> None:
        """Hold a key until its lease, counted from before it was asked for, is over by either clock."""
        left_ms = key.not_after_unix_ms - before.unix_ms
        facts = self._facts_of(f"{key.owner}.{key.key_id}")
        if not self._current() or not still_good(key, facts, self._unix_ms()):
            return  # the view is behind, or ahead: the key serves this attempt, and the next one asks again
        self._cache.put(key, before.monotonic_ms + left_ms)
        asyncio.get_running_loop().call_later(left_ms / 1000 + 0.001, self._forget_over)

    def _forget_over(self) -> None:
        self._cache.forget_over(self._now())

    def _now(self) -> Now:
        return Now(self._unix_ms(), time.monotonic_ns() // 1_000_000)

    def _over(self, asked: tuple[str, str, str, str], task: asyncio.Task[LeasedKey]) -> None:
        del self._under_way[asked]
        if not task.cancelled():
            task.exception()  # every attempt that waited has met it; without any, nobody asks any more
