"""Workers that send what is in the queue: one for each target that something can be sent to.

A target that is slow or fails occupies its own worker and nothing else: those that have failed, or took long to answer, share a
part of the workers, so that the others always find one free.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Protocol

from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.notifier.delivery.item import ClaimedDelivery
from services.notifier.delivery.outcome import DeliveryOutcome, failed
from services.notifier.delivery.queue import DeliveryQueue

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Until what another replica has added, or what is due by now, is noticed."""
_SWEEP_SECONDS = 300.0
_AT_ONCE = 4
"""Deliveries to one target at the same time, from one process."""
_DIGEST_SIZE = 500
_MOST_WORKERS = 200
_MOST_FAILING = 50
"""Of these, for targets whose last delivery failed or took long."""
_SLOW_MS = 3000
"""From when on an answer took long."""
_DEFECT = "it could not be sent because of a defect of this build, which the notifier's log describes"
_DRAIN_SECONDS = 20.0


class DeliveryTarget(Protocol):
    """Where deliveries go, as it is configured now."""

    def quiet_until(self, now: datetime) -> datetime | None:
        """Return until when what is not critical is held back; None if it is not."""

    async def send(self, delivery: ClaimedDelivery, now: datetime) -> DeliveryOutcome:
        """Send one delivery. Raises nothing but DatabaseUnavailable."""

    async def send_digest(self, deliveries: Sequence[ClaimedDelivery], now: datetime) -> DeliveryOutcome:
        """Send as one what was held back. Raises nothing but DatabaseUnavailable."""


class TargetDirectory(Protocol):
    """Knows the targets."""

    async def find(self, target_id: str) -> DeliveryTarget | None:
        """Return a target; None if it is gone. Raises DatabaseUnavailable."""


class DeliverySender:
    """The workers of one process. `clock` returns the time in UTC."""

    def __init__(self, queue: DeliveryQueue, targets: TargetDirectory, clock: Callable[[], datetime]) -> None:
        self._queue = queue
        self._targets = targets
        self._clock = clock
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._failing: set[str] = set()
        """Those of the workers that are for targets which failed or took long."""
        self._slow: set[str] = set()
        """Targets whose last answer took long."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._swept_at = float("-inf")

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._run(), name="send notifications")

    def wake(self) -> None:
        """Send what was added just now at once."""
        self._wake.set()

    async def stop(self) -> None:
        """Finish what is being sent, for a while; the rest stays in the queue."""
        self._stopping = True
        if self._task is not None:
            await cancel_and_wait(self._task)
        if self._workers:
            _, late = await asyncio.wait(set(self._workers.values()), timeout=_DRAIN_SECONDS)
            for task in late:
                await cancel_and_wait(task)

    @property
    def workers(self) -> int:
        """How many targets are being served."""
        return len(self._workers)

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._start_workers()
                await self._sweep()
            except DatabaseUnavailable as error:
                _log.warning("cannot read the queue of notifications: %s; retrying", error)
            except Exception:  # the loop must survive any defect; what is due stays in the queue
                _log.exception("cannot start to send notifications; retrying")
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            self._wake.clear()

    async def _start_workers(self) -> None:
        ready = list((await self._queue.list_ready_targets(self._clock())).items())
        random.shuffle(ready)  # where there are too many, each has its turn
        for target_id, failures in ready:
            if target_id in self._workers or len(self._workers) >= _MOST_WORKERS:
                continue
            confined = failures > 0 or target_id in self._slow
            if confined and len(self._failing) >= _MOST_FAILING:
                continue
            if confined:
                self._failing.add(target_id)
            task = asyncio.create_task(self._serve(target_id, failures), name=f"send to {target_id}")
            self._workers[target_id] = task
            task.add_done_callback(partial(self._end, target_id))

    def _end(self, target_id: str, _: asyncio.Task[None]) -> None:
        self._workers.pop(target_id, None)
        self._failing.discard(target_id)

    async def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._swept_at >= _SWEEP_SECONDS:
            self._swept_at = now
            await self._queue.sweep(self._clock())

    async def _serve(self, target_id: str, failures: int) -> None:
        """Send to one target until nothing is due, or something fails or takes long: then others have their turn first.

        One that has failed gets one delivery at first.
        """
        try:
            most = 1 if failures else _AT_ONCE
            while not self._stopping and await self._send_some(target_id, most):
                if target_id in self._slow:
                    self._wake.set()
                    return
                most = _AT_ONCE
        except DatabaseUnavailable as error:
            _log.warning("cannot finish a notification: %s; it will be sent again", error)
        except Exception:  # the edge of one worker: the claims run out, and the deliveries are made again
            _log.exception("a worker of notifications failed", extra={"target": target_id})

    async def _send_some(self, target_id: str, most: int) -> bool:
        """Claim and send what is due; return whether there may be more."""
        target = await self._targets.find(target_id)
        if target is None:
            self._slow.discard(target_id)
            return False
        now = self._clock()
        quiet_until = target.quiet_until(now)
        held = await self._queue.claim_held(target_id, now, _DIGEST_SIZE)
        if held and quiet_until is not None:
            await self._queue.hold(held, quiet_until)
        elif held:
            outcome = await self._attempt(target_id, target.send_digest(held, now))
            return await self._queue.finish(held, outcome, self._clock())
        claimed = await self._queue.claim(target_id, now, most)
        late = [delivery for delivery in claimed if quiet_until is not None and not delivery.critical]
        if late and quiet_until is not None:
            await self._queue.hold(late, quiet_until)
        sendable = [delivery for delivery in claimed if delivery not in late]
        going_on = await asyncio.gather(*(self._send(target, delivery, now) for delivery in sendable))
        return bool(claimed) and all(going_on)

    async def _send(self, target: DeliveryTarget, delivery: ClaimedDelivery, now: datetime) -> bool:
        outcome = await self._attempt(delivery.target_id, target.send(delivery, now))
        return await self._queue.finish([delivery], outcome, self._clock())

    async def _attempt(self, target_id: str, sending: Awaitable[DeliveryOutcome]) -> DeliveryOutcome:
        """Return what came of an attempt, and note whether it took long. Raises DatabaseUnavailable."""
        try:
            outcome = await sending
        except DatabaseUnavailable:
            raise
        except Exception:  # the edge of one attempt: without an outcome it would be made again each minute, for ever
            _log.exception("a notification could not be sent", extra={"target": target_id})
            outcome = failed(_DEFECT, 0)
        if outcome.latency_ms >= _SLOW_MS:
            self._slow.add(target_id)
        else:
            self._slow.discard(target_id)
        return outcome
