"""One attempt: account for it, call the provider, deliver the answer, account for how it ended.

The order is what makes accounting exact: the intent is on disk before anything is sent, and the result is on disk before
the caller hears that the answer is whole. A process that dies in between leaves the intent, which says `indeterminate`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nats.errors import Error as NatsError
from opentelemetry.trace import SpanKind

from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.topology import REQUEST_REROUTE
from keyferry.contracts.usage import AttemptRecord, Outcome, RequestKind, UsageSource
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.process.telemetry import Span, Telemetry
from services.provider_worker.adapters.adapter import Answer, RefusedByAdapter
from services.provider_worker.delivery import CallerStarves, Delivery
from services.provider_worker.estimate import estimate
from services.provider_worker.fallback import reroute
from services.provider_worker.spool import Spool
from services.provider_worker.upstream.errors import IncompleteResponse, NoResponse, NotSent

_log = logging.getLogger(__name__)

Send = Callable[[str, bytes, str], Awaitable[None]]
"""Publishes (subject, data, reply); raises nats-py's errors when the bus is away."""

_DIED = Failure(
    failure_class=FailureClass.INDETERMINATE,
    message="the worker died between calling the provider and learning the result; the provider may have charged for it",
    where=Where.NO_ANSWER,
)


@dataclass(slots=True)
class Progress:
    """What is known of an attempt while it runs."""

    delivery: Delivery
    started: float
    """Monotonic seconds."""
    origin: str | None = None
    first_token: float | None = None
    answer: Answer = field(default_factory=Answer)
    waits_for_key: bool = False
    """Whether the call has not begun, because its key is on its way: until then nothing can have been paid."""
    no_key: bool = False
    """Whether the attempt ended before anything was sent, because its key could not be had."""

    async def deliver(self, texts: list[bytes]) -> None:
        """Pass chunk texts on, and note when the first one came."""
        if not texts:
            return
        if self.first_token is None:
            self.first_token = time.monotonic()
        await self.delivery.deltas_arrived(texts)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call that can be made. Nothing has been sent."""

    call: Callable[[Progress], Awaitable[Answer]]
    """Makes it: delivers deltas to the progress, keeps `progress.answer` at what is known so far, returns the whole answer.

    Raises RefusedByAdapter, NotSent, NoResponse and IncompleteResponse.
    """
    dropped: tuple[str, ...] = ()
    """Fields of the caller's body that it leaves out."""


Provider = Callable[[AttemptRun, bytes], Prepared]
"""Prepares the call for the caller's body. Raises RefusedByAdapter."""


@dataclass(slots=True)
class _Running:
    tenant: str
    task: asyncio.Task[None]
    delivery: Delivery
    cancelled_by_caller: bool = False


class Attempts:
    """All attempts of one worker process."""

    def __init__(
        self,
        *,
        worker_id: str,
        instance_id: str,
        providers: dict[str, Provider],
        spool: Spool,
        publisher: BatchPublisher,
        send: Send,
        telemetry: Telemetry,
        capacity: int,
    ) -> None:
        self._worker_id = worker_id
        self._instance_id = instance_id
        self._providers = providers
        self._spool = spool
        self._publisher = publisher
        self._send = send
        self._telemetry = telemetry
        self._capacity = capacity
        self._running: dict[str, _Running] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def run(self, run: AttemptRun, body: bytes, inbox: str) -> None:
        """Make one attempt, from the check that it may still start to its record. Never raises for the provider's faults."""
        if _too_late(run):
            # Silence is the answer: by now the caller may have sent the request again, and only one of them may be paid.
            _log.info("an attempt came too late to start", extra={"request_id": run.request_id})
            return
        if (refusal := self._refusal(run)) is not None:
            await self._refuse(run, inbox, refusal)
            return
        span = self._telemetry.start("provider_worker.attempt", run.traceparent, kind=SpanKind.CLIENT)
        if span.traceparent != run.traceparent:
            # What comes of this attempt, its ledger row or another plan, hangs below it in the trace.
            run = run.model_copy(update={"traceparent": span.traceparent})
        try:
            await self._account(run, body, inbox, span)
        finally:
            span.end()

    def cancel(self, attempt_id: str, tenant: str) -> bool:
        """The caller does not want the answer any more. Whether there was something to cancel."""
        running = self._running.get(attempt_id)
        if running is None or running.tenant != tenant:
            return False
        running.cancelled_by_caller = True
        running.task.cancel()
        return True

    def grant(self, attempt_id: str, tenant: str, credit_bytes: int) -> None:
        """The caller has room for more of this attempt's answer."""
        running = self._running.get(attempt_id)
        if running is not None and running.tenant == tenant:
            running.delivery.grant(credit_bytes)

    def unknown(self, attempt_ids: list[str]) -> list[str]:
        """Those that are not under way here."""
        return [attempt_id for attempt_id in attempt_ids if attempt_id not in self._running]

    # --- inside

    async def _account(self, run: AttemptRun, body: bytes, inbox: str, span: Span) -> None:
        intent = self._intent(run)
        try:
            self._spool.intend(intent)
        except OSError as error:
            _log.error("the spool cannot be written", extra={"error": str(error)})
            span.fail(FailureClass.UNAVAILABLE.value)
            await self._refuse(run, inbox, _unavailable("this worker cannot keep accounts: its disk is full or broken"))
            return
        task = asyncio.current_task()
        assert task is not None
        delivery = Delivery(run.attempt_id, lambda frame: self._send(inbox, frame, ""), run.credit_bytes)
        self._running[run.attempt_id] = running = _Running(run.tenant, task, delivery)
        try:
            await self._live(run, body, inbox, intent, running, span)
        finally:
            del self._running[run.attempt_id]

    async def _live(
        self, run: AttemptRun, body: bytes, inbox: str, intent: AttemptRecord, running: _Running, span: Span
    ) -> None:
        progress = Progress(running.delivery, started=time.monotonic())
        outcome, failure = await self._attempt(run, body, inbox, progress, running)
        record = self._result(intent, progress, outcome, failure, body)
        self._publisher.put(self._spool.finish(record, time.monotonic()))
        _describe(span, record)
        try:
            await self._conclude(run, body, inbox, progress, record)
        except (NatsError, CallerStarves):
            _log.warning("the end of an answer could not be delivered", extra={"attempt_id": run.attempt_id})

    async def _conclude(
        self, run: AttemptRun, body: bytes, inbox: str, progress: Progress, record: AttemptRecord
    ) -> None:
        """Tell the caller how it ended; or, while nothing was delivered, hand the request back to be planned anew."""
        if record.failure is not None and record.outcome is Outcome.FAILED and not progress.delivery.deltas:
            left_ms = run.deadline_ms - record.latency_ms
            again = reroute(
                run,
                record.failure,
                left_ms=left_ms,
                now_unix_ms=time.time_ns() // 1_000_000,
                no_key=progress.no_key,
            )
            if again is not None:
                await self._send(REQUEST_REROUTE.format(tenant=run.tenant), again.with_body(body), inbox)
                return
        whole = progress.answer.body if record.outcome is Outcome.COMPLETED else b""
        await progress.delivery.end(record.outcome, record.failure, whole)

    async def _attempt(
        self, run: AttemptRun, body: bytes, inbox: str, progress: Progress, running: _Running
    ) -> tuple[Outcome, Failure | None]:
        try:
            prepared = await self._prepare(run, body, inbox)
            # The connection writes in a task of its own. Only a caller that can hear of the acceptance will not ask again.
            await asyncio.sleep(0)
            if _too_late(run):
                message = "the worker stood still for too long and called nobody; try again"
                return Outcome.FAILED, _failure(FailureClass.UNAVAILABLE, message, Where.NOT_SENT)
            async with asyncio.timeout(run.deadline_ms / 1000):
                progress.answer = await prepared.call(progress)
        except asyncio.CancelledError:
            if running.cancelled_by_caller:
                return Outcome.CANCELLED, _failure(FailureClass.CANCELLED, "the caller went away", _where(progress))
            return Outcome.FAILED, _unavailable("the worker stopped before the answer was whole")
        except TimeoutError:
            return Outcome.FAILED, _late(progress)
        except (RefusedByAdapter, NotSent, NoResponse, IncompleteResponse) as error:
            return Outcome.FAILED, _of(error, progress.answer)
        except NatsError:
            return Outcome.CANCELLED, _unavailable("the bus went away while the answer was delivered")
        except CallerStarves:
            return Outcome.CANCELLED, _failure(
                FailureClass.CANCELLED, "the caller stopped taking the answer", Where.GATEWAY
            )
        except Exception:  # the edge of the attempt: a defect of ours must still end as a record and a frame
            _log.exception("an attempt failed", extra={"attempt_id": run.attempt_id, "request_id": run.request_id})
            return Outcome.FAILED, _failure(
                FailureClass.INTERNAL, "the gateway failed while it handled the answer", Where.GATEWAY
            )
        if progress.answer.failure is not None:
            return Outcome.FAILED, progress.answer.failure
        return Outcome.COMPLETED, None

    async def _prepare(self, run: AttemptRun, body: bytes, inbox: str) -> Prepared:
        """Tell the caller that the attempt is taken, also where it ends here: a caller knows no end without a beginning."""
        try:
            prepared = self._providers[run.provider](run, body)
        except RefusedByAdapter:
            await self._send(inbox, self._accepted(run, ()), "")
            raise
        await self._send(inbox, self._accepted(run, prepared.dropped), "")
        return prepared

    def _refusal(self, run: AttemptRun) -> Failure | None:
        if run.provider not in self._providers:
            return _failure(
                FailureClass.INTERNAL, f"this worker does not know the provider {run.provider}", Where.GATEWAY
            )
        if len(self._running) >= self._capacity:
            return Failure(
                failure_class=FailureClass.OVERLOADED,
                message="the gateway has no room for another attempt just now",
                retry_after_ms=1000,
            )
        return None

    async def _refuse(self, run: AttemptRun, inbox: str, failure: Failure) -> None:
        refused = frames.Refused(request_id=run.request_id, decision_id=run.decision_id, failure=failure)
        try:
            await self._send(inbox, refused.to_frame(), "")
        except NatsError:
            _log.warning("a refusal could not be delivered", extra={"request_id": run.request_id})

    def _accepted(self, run: AttemptRun, dropped: tuple[str, ...]) -> bytes:
        return frames.Accepted(
            attempt_id=run.attempt_id,
            instance_id=self._instance_id,
            attempt_number=run.attempt_number,
            decision_id=run.decision_id,
            provider=run.provider,
            endpoint=run.endpoint,
            model=run.model,
            key_source=run.key_source,
            dropped=list(dropped),
        ).to_frame()

    def _intent(self, run: AttemptRun) -> AttemptRecord:
        return AttemptRecord(
            attempt_id=run.attempt_id,
            request_id=run.request_id,
            kind=run.kind,
            decision_id=run.decision_id,
            attempt_number=run.attempt_number,
            tenant=run.tenant,
            client_token_id=run.client_token_id,
            provider=run.provider,
            endpoint=run.endpoint,
            model_asked=run.model_asked,
            model=run.model,
            operation=run.operation,
            key_source=run.key_source,
            key_id=run.key_id,
            stream=run.stream,
            outcome=Outcome.INDETERMINATE,
            failure=_DIED,
            started_at=datetime.now(UTC),
            latency_ms=0,
            tags=run.tags,
            traceparent=run.traceparent,
            worker_id=self._worker_id,
            spool_seq=self._spool.next_seq(),
        )

    def _result(
        self, intent: AttemptRecord, progress: Progress, outcome: Outcome, failure: Failure | None, body: bytes
    ) -> AttemptRecord:
        answer = progress.answer
        token_usage, usage_source = answer.token_usage, answer.usage_source
        if usage_source is UsageSource.NONE and _was_worked_on(outcome, failure, progress.delivery.deltas):
            token_usage = estimate(body, deltas=progress.delivery.deltas, answer_body=answer.body)
            usage_source = UsageSource.ESTIMATED
        return intent.model_copy(
            update={
                "origin": progress.origin,
                "model_served": answer.model_served,
                "outcome": outcome,
                "failure": failure,
                "finish_reason": answer.finish_reason,
                "service_tier": answer.service_tier,
                "token_usage": token_usage,
                "usage_source": usage_source,
                "reported_cost_usd": answer.reported_cost_usd,
                "latency_ms": int((time.monotonic() - progress.started) * 1000),
                "first_token_ms": None
                if progress.first_token is None
                else int((progress.first_token - progress.started) * 1000),
            }
        )


def _too_late(run: AttemptRun) -> bool:
    return time.time_ns() // 1_000_000 > run.start_by_unix_ms


def _failure(failure_class: FailureClass, message: str, where: Where) -> Failure:
    return Failure(failure_class=failure_class, message=message, where=where)


def _where(progress: Progress) -> Where:
    """How far an attempt had come that was given up."""
    if progress.waits_for_key:
        return Where.NOT_SENT
    return Where.MID_STREAM if progress.delivery.deltas else Where.NO_ANSWER


def _late(progress: Progress) -> Failure:
    """The failure of an attempt whose deadline passed: the provider's only where the provider was called."""
    if progress.waits_for_key:
        message = "the request's deadline passed before the key vault had answered; nothing was sent"
        return _failure(FailureClass.EXPIRED, message, Where.NOT_SENT)
    message = "the request's deadline passed before the provider had answered"
    return _failure(FailureClass.TIMEOUT, message, Where.NO_ANSWER)


def _unavailable(message: str) -> Failure:
    return _failure(FailureClass.UNAVAILABLE, message, Where.GATEWAY)


def _of(error: RefusedByAdapter | NotSent | NoResponse | IncompleteResponse, answer: Answer) -> Failure:
    """The failure of an error: what the provider itself said before it broke off counts more than the breaking off."""
    if isinstance(error, RefusedByAdapter):
        return error.failure
    if isinstance(error, NotSent):
        return _failure(FailureClass.UNREACHABLE, str(error), Where.NOT_SENT)
    if isinstance(error, NoResponse):
        return _failure(FailureClass.TIMEOUT if error.timed_out else FailureClass.SERVER, str(error), Where.NO_ANSWER)
    return answer.failure or _failure(FailureClass.TRUNCATED, str(error), Where.MID_STREAM)


def _was_worked_on(outcome: Outcome, failure: Failure | None, deltas: int) -> bool:
    """Whether the provider did something that it may charge for, though it reported no usage."""
    if outcome is Outcome.COMPLETED or deltas:
        return True
    return failure is not None and failure.where in (Where.NO_ANSWER, Where.MID_STREAM)


def _describe(span: Span, record: AttemptRecord) -> None:
    """Attributes of the GenAI semantic conventions, and our own ids; no content."""
    span.set(
        gen_ai__operation__name="embeddings" if record.kind is RequestKind.EMBEDDING else "chat",
        gen_ai__provider__name=record.provider,
        gen_ai__request__model=record.model,
        gen_ai__response__model=record.model_served,
        gen_ai__usage__input_tokens=record.token_usage.prompt,
        gen_ai__usage__output_tokens=record.token_usage.completion,
        keyferry__tenant=record.tenant,
        keyferry__request_id=record.request_id,
        keyferry__attempt_id=record.attempt_id,
        keyferry__outcome=record.outcome.value,
        keyferry__key_source=record.key_source.value,
    )
    if record.failure is not None:
        span.fail(record.failure.failure_class.value)
