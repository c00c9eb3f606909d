"""Keeps this process registered with the vault: a fresh public key at the start and every hour, signed by the slot's identity.

Anybody who gets a private key can open what was sealed to its public key earlier, so private keys stay in memory only and for
an hour at most. The previous one is kept until it expires, because a delivery sealed to it may still be in transit.
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
from keyferry.contracts.lease import Registered, WorkerRegistration
from keyferry.runtime.backoff import Backoff, apply_jitter
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.sealing.delivery import Recipient
from keyferry.sealing.registration import MAX_VALID_MS, sign

_log = logging.getLogger(__name__)

RENEW_SECONDS = 3000.0
"""Ten minutes before the key expires, so that a short outage of the vault does no harm."""
_JITTER = 0.1
"""Keeps processes that started together from registering together."""
_RETRIES = Backoff(first_seconds=0.5, longest_seconds=30.0, jitter=_JITTER)
_MIN_INTERVAL_SECONDS = 1.0

AskToRegister = Callable[[WorkerRegistration], Awaitable[Registered]]
"""Raises Refused, BusError, and nats-py's errors when the bus is unavailable."""


class NotRegistered(Exception):
    """The vault has no registration of this process; the message says why."""


class VaultUnavailable(NotRegistered):
    """The vault could not be reached, so it is unknown whether it would register this process."""


@dataclass(frozen=True, slots=True)
class _KeyPair:
    private: X25519PrivateKey
    not_after_unix_ms: int


def unix_ms_now() -> int:
    """Return the wall clock's time in milliseconds."""
    return time.time_ns() // 1_000_000


class Registrar:
    """Registers one process. `vault` is the pinned public key that deliveries have to be signed with."""

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
        self._keys: list[_KeyPair] = []
        """Newest first."""
        self._unconfirmed: _KeyPair | None = None
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._registered_at: float | None = None

    @property
    def registered(self) -> bool:
        """Whether the vault has accepted a public key that has not expired."""
        return self._registered_at is not None and bool(self._valid_keys())

    @property
    def recipient(self) -> Recipient:
        """This process as a recipient of deliveries, with the private keys that have not expired."""
        private_keys = tuple(own.private for own in self._valid_keys())
        return Recipient(self._worker_id, self._instance_id, private_keys, self._vault)

    def start(self) -> None:
        """Register as soon as the vault is reachable, and again before each key expires."""
        self._task = asyncio.create_task(self._keep_registered(), name="register with the vault")

    async def stop(self) -> None:
        """Stop registering; what was registered expires by itself."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def register(self) -> None:
        """Register a fresh public key with the vault. Raises NotRegistered."""
        async with self._lock:
            await self._register()

    async def reregister(self) -> None:
        """Register unless that was done a moment ago, for a vault that does not know this process. Raises NotRegistered."""
        async with self._lock:
            at = self._registered_at
            if at is None or time.monotonic() - at >= _MIN_INTERVAL_SECONDS:
                await self._register()

    async def wait_registered(self, within_seconds: float) -> None:
        """Wait until this process is registered; right after the start it may not be yet. Raises NotRegistered."""
        if not self.registered:
            try:
                async with asyncio.timeout(within_seconds):
                    await self.reregister()
            except TimeoutError:
                raise VaultUnavailable("the key vault did not answer in time") from None

    # --- inside

    async def _register(self) -> None:
        own = self._next_key()
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
        self._unconfirmed = None
        self._registered_at = time.monotonic()

    def _next_key(self) -> _KeyPair:
        """Return a fresh key; or the last one if no reply to it came, as the vault may have accepted it and seal to it now."""
        now_unix_ms = self._unix_ms()
        last = self._unconfirmed
        if last is None or last.not_after_unix_ms - now_unix_ms < MAX_VALID_MS // 2:
            last = self._unconfirmed = _KeyPair(X25519PrivateKey.generate(), now_unix_ms + MAX_VALID_MS)
            self._keys = [last, *self._valid_keys()]
        return last

    def _valid_keys(self) -> list[_KeyPair]:
        now_unix_ms = self._unix_ms()
        return [own for own in self._keys if own.not_after_unix_ms > now_unix_ms]

    async def _keep_registered(self) -> None:
        failures, logged = 0, ""
        while True:
            try:
                await self.register()
            except NotRegistered as error:
                if str(error) != logged:
                    _log.warning("not registered with the vault; retrying", extra={"why": str(error)})
                    logged = str(error)
                await asyncio.sleep(_RETRIES.delay_seconds(failures, random.random()))
                failures += 1
                continue
            _log.info("registered with the vault")
            failures, logged = 0, ""
            self._keys = self._valid_keys()
            await asyncio.sleep(apply_jitter(RENEW_SECONDS, _JITTER, random.random()))
