"""One attempt: record the intent, call the provider, deliver the answer, record the result.

The order is what makes accounting exact: the intent is on disk before anything is sent, and the result is on disk before
the caller hears that the answer is whole. A process that dies in between leaves the intent, which says `indeterminate`.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nats.errors import Error as NatsError

from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.fallback import mark_earlier_charge
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.topology import REQUEST_REROUTE
from keyferry.contracts.usage import AttemptRecord, Outcome
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.tracing.span import Span
from keyferry.runtime.upstream.errors import UpstreamError
from services.provider_worker.adapters.adapter import Answer, RefusedByAdapter
from services.provider_worker.attempt_end import (
    AttemptEnd,
    end_of_answer,
    end_of_cancellation,
    end_of_deadline,
    end_of_error,
    end_of_share,
    end_of_stale_start,
    end_of_unconfirmed_start,
    failure,
    name_provider,
    unavailable,
)
from services.provider_worker.attempt_record import intent_record, reduced_result, result_record
from services.provider_worker.attempt_spans import describe_attempt, describe_call, start_call_span
from services.provider_worker.content.recorder import ContentRecorder
from services.provider_worker.fallback import reroute
from services.provider_worker.frame_writer import CallerStalled, FrameWriter
from services.provider_worker.held_limits import HeldLimits, used_tokens
from services.provider_worker.keys.lease_client import KeyUnavailable
from services.provider_worker.metrics import count_attempt, count_end
from services.provider_worker.provider_call import CallPreparer, Phase, ProviderCall, Send
from services.provider_worker.residency_check import check_residency
from services.provider_worker.settlement import is_held
from services.provider_worker.spool import Spool
from services.provider_worker.watermarks import Watermarks

_log = logging.getLogger(__name__)

_CONFIRMATION_SECONDS = 5.0
"""A caller that confirms takes a round trip; one that has died, or whose answer was lost, never does."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What the attempts of one worker process share."""

    worker_id: str
    instance_id: str
    spool: Spool
    publisher: BatchPublisher
    record_refusal: Callable[[DecisionRecord], None]
    """Publishes the record of an attempt that was not made."""
    send: Send
    limits: HeldLimits
    watermarks: Watermarks = field(default_factory=lambda: Watermarks(unix_ms))
    """Which attempts that hold credit are not settled."""
    contents: ContentRecorder | None = None
    """What stores prompts and answers of tenants that want it."""


class Attempt:
    """One attempt and how far it has come. `inbox` is the caller's; `body` is the caller's JSON, untouched."""

    def __init__(self, run: AttemptRun, body: bytes, inbox: str, *, worker: WorkerContext, span: Span) -> None:
        self.run = run
        self.phase = Phase.PLANNED
        self._body = body
        self._inbox = inbox
        self._worker = worker
        self._span = span
        self._frames = FrameWriter(run.attempt_id, lambda frame: worker.send(inbox, frame, ""), run.credit_bytes)
        contents = None if run.content is None else worker.contents
        self._call_span: Span | None = None
        """The provider's call, from when the key is there."""
        self._content = None if contents is None else contents.begin(run, body)
        self._task: asyncio.Task[None] | None = None
        self._confirmed = asyncio.Event()
        self._cancelled_by_caller = False
        self._call: ProviderCall | None = None
        self._intent: AttemptRecord | None = None
        self._started = time.monotonic()
        self._first_token: float | None = None
        """Monotonic seconds, like `_started`."""
        self._first_answer: asyncio.Timeout | None = None
        """The limit until the first text is delivered."""

    def record_intent(self) -> bool:
        """Write the intent to the spool, and return whether the attempt may begin: its credit may not be held any more.

        Raises OSError, after which nothing may be called.
        """
        spool = self._worker.spool
        if not self._worker.watermarks.begin(self.run.attempt_id, self.run.reservation):
            return False
        seq, now = spool.next_seq(), datetime.now(UTC)
        intent = intent_record(self.run, worker_id=self._worker.worker_id, spool_seq=seq, started_at=now)
        try:
            spool.record_intent(intent)
        except OSError:
            self._worker.watermarks.abandon(self.run.attempt_id)
            raise
        self._intent = intent
        return True

    async def execute(self, provider: CallPreparer) -> None:
        """Call the provider, record how it ended, and then notify the caller. The intent must be recorded before."""
        self._task = asyncio.current_task()
        self._started = time.monotonic()
        end = name_provider(await self._call_provider(provider), self.run)
        record = self._settle(end)
        try:
            await self._conclude(end, record)
        except (NatsError, CallerStalled):
            _log.warning("the end of an answer could not be delivered", extra={"attempt_id": self.run.attempt_id})
        # Last: nobody waits for it.
        if self._content is not None and self._worker.contents is not None:
            self._worker.contents.record(self.run, self._content, self._answer.body)

    def cancel(self) -> None:
        """Stop, because the caller does not want the answer any more."""
        self._cancelled_by_caller = True
        if self._task is not None:
            self._task.cancel()

    def confirm(self) -> None:
        """Go on to call the provider: the caller has taken this attempt's acceptance, and no other one's."""
        self._confirmed.set()

    def grant(self, credit_bytes: int) -> None:
        """Let the caller be sent so many more bytes."""
        self._frames.grant(credit_bytes)

    # --- the progress that the provider's call reports

    def enter(self, phase: Phase) -> None:
        """Record that the attempt has come to `phase`."""
        self.phase = phase
        if phase is Phase.SENDING:
            self._call_span = start_call_span(self._span, self.run)

    async def deliver(self, texts: list[bytes]) -> None:
        """Send chunk texts to the caller. Raises CallerStalled, and nats-py's errors."""
        if not texts:
            return
        if self._first_token is None:
            self._first_token = time.monotonic()
            if self._call_span is not None:
                self._call_span.add_event("first_token")
            if self._first_answer is not None and not self._first_answer.expired():
                self._first_answer.reschedule(None)
        if self._content is not None:
            self._content.add(texts)
        self.phase = Phase.STREAMING
        await self._frames.write_deltas(texts)

    # --- inside

    @property
    def _answer(self) -> Answer:
        return Answer() if self._call is None else self._call.answer

    async def _call_provider(self, provider: CallPreparer) -> AttemptEnd:
        try:
            self._call = await self._accept(provider)
            if (end := await self._may_start()) is not None:
                return end
            left_seconds = self._started + self.run.deadline_ms / 1000 - time.monotonic()
            if left_seconds <= 0:
                return end_of_deadline(self.phase)
            self._first_answer = self._until_first_answer(left_seconds)
            async with asyncio.timeout(left_seconds), self._first_answer:
                await self._call.make(self)
        except asyncio.CancelledError:
            return end_of_cancellation(self.phase, by_caller=self._cancelled_by_caller)
        except TimeoutError:
            share_over = self._first_answer is not None and self._first_answer.expired()
            return end_of_share(self.phase) if share_over else end_of_deadline(self.phase)
        except KeyUnavailable as error:
            return AttemptEnd(Outcome.FAILED, error.failure, no_key=True)
        except (RefusedByAdapter, UpstreamError) as error:
            return end_of_error(error, self._answer)
        except NatsError:
            return AttemptEnd(Outcome.CANCELLED, unavailable("the bus went away while the answer was delivered"))
        except CallerStalled:
            stalled = failure(FailureClass.CANCELLED, "the caller stopped taking the answer", Where.GATEWAY)
            return AttemptEnd(Outcome.CANCELLED, stalled)
        except Exception:  # the edge of the attempt: a defect of ours must still end as a record and a frame
            ids = {"attempt_id": self.run.attempt_id, "request_id": self.run.request_id}
            _log.exception("an attempt failed", extra=ids)
            message = "the gateway failed while it handled the answer"
            return AttemptEnd(Outcome.FAILED, failure(FailureClass.INTERNAL, message, Where.GATEWAY))
        return end_of_answer(self._call.answer)

    async def _may_start(self) -> AttemptEnd | None:
        """Return None once the provider may be called: only one attempt of a request may be paid."""
        if not self.run.confirm_start:
            # The connection writes in a task of its own. Only a caller that can hear of the acceptance will not ask again.
            await asyncio.sleep(0)
            return end_of_stale_start() if is_too_late(self.run) else None
        try:
            async with asyncio.timeout(_CONFIRMATION_SECONDS):
                await self._confirmed.wait()
        except TimeoutError:
            return end_of_unconfirmed_start()
        return None if is_held(self.run.reservation, unix_ms()) else end_of_stale_start()

    def _until_first_answer(self, left_seconds: float) -> asyncio.Timeout:
        """Return the limit that ends with the first delivered text: the time that other candidates need comes off it."""
        within_ms = self.run.first_answer_within_ms
        limited = within_ms is not None and within_ms / 1000 < left_seconds
        return asyncio.timeout(within_ms / 1000 if limited and within_ms is not None else None)

    async def _accept(self, provider: CallPreparer) -> ProviderCall:
        """Prepare the call and send Accepted, also where the adapter refuses: a caller knows no end without a beginning."""
        try:
            check_residency(self.run)
            call = provider.prepare(self.run, self._body)
        except RefusedByAdapter:
            await self._send_accepted(None)
            raise
        await self._send_accepted(call)
        return call

    async def _send_accepted(self, call: ProviderCall | None) -> None:
        accepted = accept(self.run, self._worker.instance_id, call)
        await self._worker.send(self._inbox, accepted.to_frame(), "")

    def _settle(self, end: AttemptEnd) -> AttemptRecord:
        """Write the result to the spool and hand it to the publisher."""
        try:
            record = self._result(end)
            line = self._worker.spool.record_result(record, time.monotonic())
        except (
            Exception
        ):  # the call was made and its caller waits: neither may depend on a value that cannot be written
            _log.exception("a record was reduced to what can be written", extra={"attempt_id": self.run.attempt_id})
            record = self._reduced_result(end)
            line = self._worker.spool.record_result(record, time.monotonic())
        self._worker.publisher.put(line, None if record.reservation is None else record.attempt_id)
        self.phase = Phase.SETTLED
        count_attempt(record)
        describe_attempt(self._span, record)
        if self._call_span is not None:
            describe_call(self._call_span, record)
            self._call_span.end()
        return record

    def _result(self, end: AttemptEnd) -> AttemptRecord:
        assert self._intent is not None
        return result_record(
            self._intent,
            end,
            self._answer,
            origin=None if self._call is None else self._call.origin,
            body=self._body,
            deltas=self._frames.deltas,
            latency_ms=self._latency_ms(),
            first_token_ms=None if self._first_token is None else int((self._first_token - self._started) * 1000),
        )

    def _reduced_result(self, end: AttemptEnd) -> AttemptRecord:
        assert self._intent is not None
        return reduced_result(self._intent, end, self._answer, latency_ms=self._latency_ms(), now=datetime.now(UTC))

    def _latency_ms(self) -> int:
        return int((time.monotonic() - self._started) * 1000)

    async def _conclude(self, end: AttemptEnd, record: AttemptRecord) -> None:
        """Send the end to the caller; or, while nothing was delivered, hand the request back to be planned anew."""
        if end.failure is not None and end.outcome is Outcome.FAILED and not self._frames.deltas:
            again = reroute(
                self.run,
                end.failure,
                left_ms=self.run.deadline_ms - record.latency_ms,
                now_unix_ms=unix_ms(),
                body_bytes=len(self._body),
                no_key=end.no_key,
                origin=record.origin,
            )
            if again is not None:
                admission = await self._worker.limits.hand_on(self.run.attempt_id, used_tokens(record))
                again = again.model_copy(update={"admission": admission})
                subject = REQUEST_REROUTE.format(tenant=self.run.tenant)
                await self._worker.send(subject, again.with_body(self._body), self._inbox)
                return
        count_end(self.run, end)
        body = self._answer.body if end.outcome is Outcome.COMPLETED else b""
        # Before the end: a caller that sends one request after the other must never be in its own way.
        await self._worker.limits.release(self.run.attempt_id, used_tokens(record))
        problem = end.failure
        if problem is not None:
            problem = mark_earlier_charge(problem, (one.failure for one in self.run.failed_attempts if not one.no_key))
        await self._frames.end(end.outcome, problem, body)


def accept(run: AttemptRun, instance_id: str, call: ProviderCall | None = None) -> frames.Accepted:
    """Return the acceptance of an attempt, with what its call leaves out and adds, if that is known yet."""
    return frames.Accepted(
        attempt_id=run.attempt_id,
        instance_id=instance_id,
        attempt_number=run.attempt_number,
        decision_id=run.decision_id,
        provider=run.provider,
        endpoint=run.endpoint,
        model=run.model,
        replaces=run.replaces,
        key_source=run.key_source,
        power_level=run.applied_level or run.power_level,
        dropped=[] if call is None else list(call.dropped),
        added=[] if call is None else list(call.added),
        decision=run.decision,
        rate_limits=run.rate_limits,
        allowance=run.allowance,
        fallback_reason=run.fallback_reason,
        awaits_start=run.confirm_start and call is not None,
        earlier_attempts=[failed.attempt_id for failed in run.failed_attempts],
    )


def is_too_late(run: AttemptRun) -> bool:
    """Return whether the moment has passed by which the provider had to be called, or until which its credit is held."""
    now_ms = unix_ms()
    return now_ms > run.start_by_unix_ms or not is_held(run.reservation, now_ms)


def unix_ms() -> int:
    """Return the time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
