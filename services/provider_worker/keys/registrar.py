"""Keeps this process known to the vault: a fresh public key at the start and every hour, signed with the slot's identity.

What is sealed to a public key can be read by whoever gets its private half later, so the private half lives in memory alone and
not for longer than an hour. The one before stays until its own time is over: what was sealed to it may still be on its way.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nats.errors import Error as NatsError

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.key import Registered, WorkerRegistration
from keyferry.runtime.backoff import Backoff, jittered
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.sealing.delivery import Recipient
from keyferry.sealing.registration import MAX_VALID_MS, sign

_log = logging.getLogger(__name__)

RENEW_SECONDS = 3000.0
"""Ten minutes before the end, so that a vault that is away for a while is no matter."""
_JITTER = 0.1
"""Keeps processes that started together from registering together."""
_RETRIES = Backoff(first_seconds=0.5, longest_seconds=30.0, jitter=_JITTER)
_AGAIN_NOT_BEFORE_SECONDS = 1.0

AskToRegister = Callable[[WorkerRegistration], Awaitable[Registered]]
"""Raises Refused, BusError, and nats-py's errors when the bus is away."""


class NotRegistered(Exception):
    """The vault does not know this process; the message says why."""


class VaultUnavailable(NotRegistered):
    """It could not be asked: nobody knows whether it would."""


@dataclass(frozen=True, slots=True)
class _OwnKey:
    private: X25519PrivateKey
    not_after_unix_ms: int


def unix_ms_now() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class Registrar:
    """The registrations of one process. `vault` is the pinned public key that deliveries have to be signed with."""

    def __init__(
        self,
        *,
        worker_id: str,
        instance_id: str,
        identity: Ed25519PrivateKey,
        vault: Ed25519PublicKey,
        ask: AskToRegister,
        unix_ms: Callable[[], int] = unix_ms_now,
    ) -> None:
        self._worker_id = worker_id
        self._instance_id = instance_id
        self._identity = identity
        self._vault = vault
        self._ask = ask
        self._unix_ms = unix_ms
        self._keys: list[_OwnKey] = []
        """The newest first."""
        self._unanswered: _OwnKey | None = None
        self._in_turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._registered_at: float | None = None

    @property
    def registered(self) -> bool:
        """Whether the vault has taken a public key that is still good."""
        return self._registered_at is not None and bool(self._valid_keys())

    @property
    def recipient(self) -> Recipient:
        """This process as it takes deliveries, with the private keys that are not over."""
        private_keys = tuple(own.private for own in self._valid_keys())
        return Recipient(self._worker_id, self._instance_id, private_keys, self._vault)

    def start(self) -> None:
        """Register as soon as the vault is there, and again before the hour is over."""
        self._task = asyncio.create_task(self._keep_registered(), name="register with the vault")

    async def stop(self) -> None:
        """Stop registering; what was registered runs out by itself."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def register(self) -> None:
        """Show the vault a fresh public key. Raises NotRegistered."""
        async with self._in_turn:
            await self._register()

    async def reregister(self) -> None:
        """The vault says that it does not know this process: register, unless that was done a moment ago.

        Raises NotRegistered.
        """
        async with self._in_turn:
            at = self._registered_at
            if at is None or time.monotonic() - at >= _AGAIN_NOT_BEFORE_SECONDS:
                await self._register()

    async def wait_registered(self, within_seconds: float) -> None:
        """Return once the vault knows this process: at the start, the first call may come before. Raises NotRegistered."""
        if not self.registered:
            try:
                async with asyncio.timeout(within_seconds):
                    await self.reregister()
            except TimeoutError:
                raise VaultUnavailable("the key vault did not answer in time") from None

    # --- inside

    async def _register(self) -> None:
        own = self._offered()
        registration = sign(
            self._identity,
            worker_id=self._worker_id,
            instance_id=self._instance_id,
            public_key=own.private.public_key().public_bytes_raw(),
            not_after_unix_ms=own.not_after_unix_ms,
        )
        try:
            await self._ask(registration)
        except Refused as error:
            raise NotRegistered(f"the vault refuses this worker: {error}") from None
        except (BusError, NatsError, MalformedMessage) as error:
            raise VaultUnavailable(f"the vault cannot be reached: {str(error) or type(error).__name__}") from None
        self._unanswered = None
        self._registered_at = time.monotonic()

    def _offered(self) -> _OwnKey:
        """A fresh key; or the last one, where no answer came: the vault may know it, and seal to it from now on."""
        now_unix_ms = self._unix_ms()
        last = self._unanswered
        if last is None or last.not_after_unix_ms - now_unix_ms < MAX_VALID_MS // 2:
            last = self._unanswered = _OwnKey(X25519PrivateKey.generate(), now_unix_ms + MAX_VALID_MS)
            self._keys = [last, *self._valid_keys()]
        return last

    def _valid_keys(self) -> list[_OwnKey]:
        now_unix_ms = self._unix_ms()
        return [own for own in self._keys if own.not_after_unix_ms > now_unix_ms]

    async def _keep_registered(self) -> None:
        failures, complained = 0, ""
        while True:
            try:
                await self.register()
            except NotRegistered as error:
                if str(error) != complained:
                    _log.warning("not registered with the vault; trying on", extra={"why": str(error)})
                    complained = str(error)
                await asyncio.sleep(_RETRIES.delay_seconds(failures, random.random()))
                failures += 1
                continue
            _log.info("registered with the vault")
            failures, complained = 0, ""
            self._keys = self._valid_keys()
            await asyncio.sleep(jittered(RENEW_SECONDS, _JITTER, random.random()))
