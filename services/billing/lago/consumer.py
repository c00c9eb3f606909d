"""Reports attempts from their stream: a batch is acknowledged once Lago has all of its events, or they are parked."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from nats.aio.msg import Msg

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.usage import AttemptRecord
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.bus.publishing import split_batch
from services.billing.lago.client import LagoUnavailable
from services.billing.lago.events import UsageEvent, usage_event
from services.billing.lago.reporter import LagoReporter

_log = logging.getLogger(__name__)

_HELD_FOR: Final = timedelta(seconds=40)
"""The batch is another process's after a minute: then it has been returned to the stream."""
_BACKOFF: Final = Backoff(first_seconds=0.5, longest_seconds=10.0)
_REMEMBERED: Final = 200_000
"""Attempts that are known to be reported, so that a batch that was returned half done goes on where it stopped."""
BACKLOG_AGE: Final = timedelta(minutes=15)

ReportBacklog = Callable[[bool, str], Awaitable[None]]
"""Raises or resolves the alert about the backlog."""


class NotReported(Exception):
    """A batch goes back to the stream: it is delivered again."""


class AttemptReporter:
    """The reader of attempts of one process. `reporter` is None while Lago is not used."""

    def __init__(
        self,
        reporter: LagoReporter | None,
        since: Callable[[], datetime | None],
        report_backlog: ReportBacklog,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reporter = reporter
        self._since = since
        self._report_backlog = report_backlog
        self._clock = clock
        self._settled: OrderedDict[str, None] = OrderedDict()
        self._stopping = asyncio.Event()
        self.last_error: str | None = None
        self.waiting_messages = 0
        self.oldest_waiting_at: datetime | None = None

    def stop(self) -> None:
        """Wait no longer for Lago: return the batch in hand."""
        self._stopping.set()

    async def on_attempts(self, messages: list[Msg]) -> None:
        """Report the attempts of batches. Raises NotReported and DatabaseUnavailable, so that they are delivered again."""
        if self._reporter is None:
            return
        since = self._since()
        events = [
            event
            for message in messages
            for event in decode_events(message.subject, message.data)
            if event.attempt_id not in self._settled and (since is None or event.ended_at >= since)
        ]
        self._note_backlog(messages)
        await self._report(self._reporter, events)
        await self._note_caught_up(messages)

    async def _report(self, reporter: LagoReporter, events: list[UsageEvent]) -> None:
        give_up_at, failures = self._clock() + _HELD_FOR, 0
        while True:
            left = [event for event in events if event.attempt_id not in self._settled]
            if not left:
                return
            try:
                await reporter.report(left, self._remember)
                self.last_error = None
                return
            except LagoUnavailable as error:
                self.last_error = str(error)
                await self._warn_of_age()
                delay = _BACKOFF.delay_seconds(failures)
                failures += 1
                if self._clock() + timedelta(seconds=delay) > give_up_at or await self._stopped_within(delay):
                    raise NotReported(f"{error}: {len(left)} events wait in the stream") from None

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _remember(self, events: Sequence[UsageEvent]) -> None:
        self._settled.update(dict.fromkeys(event.attempt_id for event in events))
        while len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)

    def _note_backlog(self, messages: Sequence[Msg]) -> None:
        self.waiting_messages = messages[-1].metadata.num_pending + len(messages)
        self.oldest_waiting_at = messages[0].metadata.timestamp.astimezone(UTC)

    async def _warn_of_age(self) -> None:
        if self.oldest_waiting_at is None or self._clock() - self.oldest_waiting_at < BACKLOG_AGE:
            return
        text = (
            f"Attempts since {self.oldest_waiting_at:%Y-%m-%d %H:%M} UTC are not reported to Lago ({self.last_error})."
            " They wait for seven days: mend it before, or report those days by `keyferry billing lago backfill`."
        )
        await self._report_backlog(True, text)

    async def _note_caught_up(self, messages: Sequence[Msg]) -> None:
        self.waiting_messages = messages[-1].metadata.num_pending
        if not self.waiting_messages:
            self.oldest_waiting_at = None
            await self._report_backlog(False, "All attempts are reported to Lago.")


def decode_events(subject: str, data: bytes) -> Iterator[UsageEvent]:
    """Yield the events of a batch. Malformed records are skipped: the ledger has them in its dead letters.

    A worker reports its own attempts only: the subject, which the bus guards, has to agree with the record.
    """
    producer = subject.rpartition(".")[2]
    try:
        _, lines = split_batch(data)
    except MalformedMessage as error:
        _log.warning("skipped a malformed batch", extra={"producer": producer, "reason": str(error)})
        return
    for line in lines:
        try:
            record = AttemptRecord.decode(line)
        except MalformedMessage as error:
            _log.warning("skipped a malformed record", extra={"producer": producer, "reason": str(error)})
            continue
        event = usage_event(record) if record.worker_id == producer else None
        if event is not None:
            yield event
