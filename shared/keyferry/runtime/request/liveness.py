"""Detection of workers that died or froze in the middle of an answer, by probing the silent ones."""

import asyncio
import logging
import time

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from keyferry.contracts.chat import Probe, ProbeReply
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.topology import WORKER_PROBE
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.request.call import Call

_log = logging.getLogger(__name__)

_PROBE_EVERY_SECONDS = 1.0
_MAX_PROBED_ATTEMPTS = 5000
_FROZEN_SECONDS = 10.0
"""A worker that answers no probe for this long is treated as dead; shorter freezes only delay."""


class LivenessWatch:
    """Asks silent workers whether they still have the attempts they accepted: once a second and worker process.

    A dead worker has no subscription, which the server reports at once; a restarted one has another instance id; a frozen one
    does not answer, and gets some time.
    """

    def __init__(self, client: Client, calls: dict[str, Call]) -> None:
        self._client = client
        self._calls = calls
        self._unanswered_since: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._run(), name="liveness watch")

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_EVERY_SECONDS)
            silent: dict[str, list[Call]] = {}
            active: set[str | None] = set()
            moment = time.monotonic() - _PROBE_EVERY_SECONDS
            for call in list(self._calls.values()):
                active.add(call.active_since(moment))
                if (instance := call.silent_since(moment)) is not None:
                    silent.setdefault(instance, []).append(call)
            # A worker whose frames arrive is alive, though its answer to a probe may wait behind thousands of them.
            self._unanswered_since = {
                instance: since
                for instance, since in self._unanswered_since.items()
                if instance in silent and instance not in active
            }
            probes = (self._probe(instance, calls) for instance, calls in silent.items())
            for error in await asyncio.gather(*probes, return_exceptions=True):
                if isinstance(error, Exception):
                    _log.error("a probe failed", exc_info=error)

    async def _probe(self, instance: str, calls: list[Call]) -> None:
        by_attempt = {
            call.accepted.attempt_id: call for call in calls[:_MAX_PROBED_ATTEMPTS] if call.accepted is not None
        }
        probe = Probe(attempt_ids=list(by_attempt))
        try:
            reply = await self._client.request(
                WORKER_PROBE.format(instance=instance), probe.encode(), timeout=_PROBE_EVERY_SECONDS
            )
            unknown = ProbeReply.decode(reply.data).unknown
        except NoRespondersError:
            for call in calls:
                call.lose("the worker died in the middle of the answer")
            return
        except (NatsError, TimeoutError, MalformedMessage):
            self._on_no_answer(instance, calls)
            return
        self._unanswered_since.pop(instance, None)
        for attempt_id in unknown:
            if (doubted := by_attempt.get(attempt_id)) is not None:
                doubted.doubt()

    def _on_no_answer(self, instance: str, calls: list[Call]) -> None:
        if not self._client.is_connected:
            return  # no probe can be answered: the bus itself is away
        since = self._unanswered_since.setdefault(instance, time.monotonic())
        if time.monotonic() - since > _FROZEN_SECONDS:
            for call in calls:
                call.lose("the worker does not answer any more")
