"""The attempts of this worker process: admission, cancellation and credit."""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from nats.errors import Error as NatsError

from keyferry.contracts import frames, ids
from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.fallback import mark_earlier_charge
from keyferry.contracts.topology import REQUEST_REROUTE
from keyferry.runtime.tracing.sampling import KeepReason
from keyferry.runtime.tracing.span import Span, current_span, work_for
from keyferry.runtime.tracing.telemetry import Telemetry
from services.provider_worker.admission.admission import AdmissionRefusal, AdmissionTicket, AttemptAdmission
from services.provider_worker.admission.attempts import BUILT_IN, bulkhead_of, hand_back, refusal_failure
from services.provider_worker.admission.limits import AdmissionLimits
from services.provider_worker.attempt import Attempt, WorkerContext, accept, is_too_late, unix_ms
from services.provider_worker.attempt_end import end_of_stale_start, failure, unavailable
from services.provider_worker.attempt_spans import start_attempt_span
from services.provider_worker.delayed_attempts import DelayedAttempts
from services.provider_worker.metrics import UNAVAILABLE, count_refusal
from services.provider_worker.provider_call import CallPreparer
from services.provider_worker.refusal_record import refusal_record

_log = logging.getLogger(__name__)

_START_MARGIN_MS = 50
"""Of the time to start in, what the intent and the acceptance take."""
_LOG_SECONDS = 10.0
_CANCELLED = failure(
    FailureClass.CANCELLED, "the caller gave the request up before a provider was called", Where.GATEWAY
)


_NOT_HELD = unavailable("the credit for this request is not held any more, and no provider was called; try again")


class AttemptRegistry:
    """All attempts of one worker process, running and waiting, within `limits`."""

    def __init__(
        self,
        worker: WorkerContext,
        providers: Mapping[str, CallPreparer],
        *,
        telemetry: Telemetry,
        limits: AdmissionLimits,
    ) -> None:
        self._worker = worker
        self._providers = providers
        self._telemetry = telemetry
        self.admission = AttemptAdmission(limits, BUILT_IN)
        self._starts: dict[AdmissionTicket, asyncio.Future[None]] = {}
        """What the waiting attempts wait for."""
        self._waiting: dict[str, AdmissionTicket] = {}
        """Those attempts by their ids."""
        self._running: dict[str, Attempt] = {}
        self.delayed = DelayedAttempts()
        self._log_at = 0.0

    def __len__(self) -> int:
        return len(self._running)

    async def run(self, run: AttemptRun, body: bytes, inbox: str) -> None:
        """Make one attempt, from the check that it may still start to its record. Never raises for the provider's faults."""
        self._worker.limits.hold(run)
        try:
            await self._admit(run, body, inbox)
        finally:
            await self._worker.limits.release(run.attempt_id, 0)

    def cancel(self, attempt_id: str, tenant: str) -> bool:
        """Cancel an attempt for its caller, and return whether it was running."""
        attempt = self._running_of(attempt_id, tenant)
        if attempt is None:
            return self.delayed.cancel(attempt_id, tenant) or self._cancel_waiting(attempt_id, tenant)
        attempt.cancel()
        return True

    def confirm(self, attempt_id: str, tenant: str) -> None:
        """Let an attempt call its provider that its caller has confirmed."""
        if (attempt := self._running_of(attempt_id, tenant)) is not None:
            attempt.confirm()

    def grant(self, attempt_id: str, tenant: str, credit_bytes: int) -> None:
        """Let the caller of an attempt be sent so many more bytes."""
        if (attempt := self._running_of(attempt_id, tenant)) is not None:
            attempt.grant(credit_bytes)

    def unknown(self, attempt_ids: list[str]) -> list[str]:
        """Return those attempts that are not running here."""
        known = (self._running, self.delayed, self._waiting)
        return [one for one in attempt_ids if not any(one in each for each in known)]

    # --- inside

    async def _admit(self, run: AttemptRun, body: bytes, inbox: str) -> None:
        if is_too_late(run):
            # No reply at all: by now the caller may have sent the request again, and only one of them may be paid.
            _log.info("an attempt came too late to start", extra={"request_id": run.request_id})
            return
        span = start_attempt_span(self._telemetry, run)
        # What comes of this attempt, its ledger row or another plan, hangs below it in the trace.
        run = run.model_copy(update={"traceparent": span.traceparent})
        work_for(span)
        try:
            await self._start(run, body, inbox, span)
        finally:
            span.set(
                keyferry__request_id=run.request_id,
                keyferry__attempt_id=run.attempt_id,
                keyferry__attempt_number=run.attempt_number,
                keyferry__tenant=run.tenant,
                keyferry__provider=run.provider,
                keyferry__endpoint=run.endpoint,
                keyferry__model=run.model,
                keyferry__key_source=run.key_source.value,
            )
            self._telemetry.finish(span)
            if run.failed_attempts:
                span.keep(KeepReason.FALLBACK)

    async def _start(self, run: AttemptRun, body: bytes, inbox: str, span: Span) -> None:
        """Make an attempt once it is its turn."""
        if run.provider not in self._providers:
            # A new provider reaches the router a moment earlier; or the router is of a newer version.
            message = f"this worker does not know the provider {run.provider} yet; try again in a moment"
            await self._refuse(run, inbox, unavailable(message))
            return
        if run.delay_ms:
            accepted_ns = time.time_ns()
            delayed = await self._delay(run, len(body), inbox)
            self._telemetry.record("provider_worker.delay", run.traceparent, accepted_ns)
            if delayed is None:
                return
            run = delayed
        arrived, arrived_ns = time.monotonic(), time.time_ns()
        seconds_left = min(run.start_by_unix_ms - unix_ms() - _START_MARGIN_MS, run.deadline_ms) / 1000
        ticket = self.admission.request(run.tenant, bulkhead_of(run), arrived + seconds_left, arrived)
        if isinstance(ticket, AdmissionRefusal):
            await self._turn_away(run, body, inbox, ticket)
            return
        try:
            if ticket.started_at is None:
                started = await self._wait(run, body, inbox, ticket, arrived)
                if started is None:
                    return
                run = started
                self._telemetry.record("provider_worker.admission", run.traceparent, arrived_ns)
            await self._execute(Attempt(run, body, inbox, worker=self._worker, span=span), inbox, span)
        finally:
            self._leave(ticket)

    async def _delay(self, run: AttemptRun, body_bytes: int, inbox: str) -> AttemptRun | None:
        """Accept an attempt that has to wait, and return it after its delay; None if it ended before or came too late."""
        if not self.delayed.may_wait(run.tenant, body_bytes):
            message = "the gateway has too many requests that wait for a provider; try again in 1 s"
            overloaded = Failure(failure_class=FailureClass.OVERLOADED, message=message, retry_after_ms=1000)
            await self._refuse(run, inbox, overloaded)
            return None
        try:
            await self._worker.send(inbox, accept(run, self._worker.instance_id).to_frame(), "")
            delayed = await self.delayed.wait(run, body_bytes)
        except NatsError:
            return None
        except asyncio.CancelledError:
            await self._refuse(run, inbox, unavailable("the worker stopped before the provider was called; try again"))
            raise
        if delayed is None:
            self._record_refusal(run, _CANCELLED)
            return None
        if is_too_late(delayed):
            stale = end_of_stale_start().failure
            assert stale is not None
            await self._refuse(run, inbox, stale)
            return None
        return delayed

    async def _wait(
        self, run: AttemptRun, body: bytes, inbox: str, ticket: AdmissionTicket, now: float
    ) -> AttemptRun | None:
        """Wait until it is the attempt's turn. Return it with what is left of its time; None if that is not to come."""
        start: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._starts[ticket], self._waiting[run.attempt_id] = start, ticket
        try:
            await asyncio.wait((start,), timeout=ticket.start_before - now)
        finally:
            del self._starts[ticket], self._waiting[run.attempt_id]
        if start.cancelled():
            self._record_refusal(run, _CANCELLED)
            return None
        if is_too_late(run):
            _log.info("an attempt waited until it was too late to start", extra={"request_id": run.request_id})
            return None
        left_ms = max(0, run.deadline_ms - int((time.monotonic() - now) * 1000))
        within = run.first_answer_within_ms
        run = run.model_copy(
            update={
                "deadline_ms": left_ms,
                "first_answer_within_ms": None if within is None else min(within, left_ms),
            }
        )
        if ticket.started_at is None:
            await self._turn_away(run, body, inbox, self.admission.give_up(ticket, time.monotonic()))
            return None
        return run

    def _cancel_waiting(self, attempt_id: str, tenant: str) -> bool:
        """Cancel an attempt that waits for its turn: one that was accepted before, when its delay began."""
        ticket = self._waiting.get(attempt_id)
        return ticket is not None and ticket.tenant == tenant and self._starts[ticket].cancel()

    def _leave(self, ticket: AdmissionTicket) -> None:
        """Let those start that waited for this attempt to end."""
        for started in self.admission.leave(ticket, time.monotonic()):
            if (start := self._starts.get(started)) is not None and not start.done():
                start.set_result(None)

    def _running_of(self, attempt_id: str, tenant: str) -> Attempt | None:
        attempt = self._running.get(attempt_id)
        return attempt if attempt is not None and attempt.run.tenant == tenant else None

    async def _execute(self, attempt: Attempt, inbox: str, span: Span) -> None:
        run = attempt.run
        try:
            may_begin = attempt.record_intent()
        except OSError as error:
            _log.error("the spool cannot be written", extra={"error": str(error)})
            span.fail(FailureClass.UNAVAILABLE.value)
            await self._refuse(run, inbox, unavailable("this worker cannot keep accounts: its disk is full or broken"))
            return
        if not may_begin:
            span.fail(FailureClass.UNAVAILABLE.value)
            await self._refuse(run, inbox, _NOT_HELD)
            return
        self._running[run.attempt_id] = attempt
        try:
            await attempt.execute(self._providers[run.provider])
        finally:
            del self._running[run.attempt_id]

    async def _turn_away(self, run: AttemptRun, body: bytes, inbox: str, refusal: AdmissionRefusal) -> None:
        """Refuse an attempt for which there is no place, or hand its request back for another provider."""
        self._log_overload()
        problem = refusal_failure(refusal, run)
        _fail_current_span(problem)
        again = hand_back(run, refusal, problem, now_unix_ms=unix_ms())
        if again is None:
            await self._refuse(run, inbox, problem, refusal.reason.value)
            return
        count_refusal(run, refusal.reason.value, final=False)
        admission = await self._worker.limits.hand_on(run.attempt_id, 0)
        again = again.model_copy(update={"admission": admission, "reservation": run.reservation})
        try:
            await self._worker.send(REQUEST_REROUTE.format(tenant=run.tenant), again.with_body(body), inbox)
        except NatsError:
            _log.warning("a request could not be handed back", extra={"request_id": run.request_id})

    def _log_overload(self) -> None:
        """Log that attempts are refused, not more than once in a while."""
        now = time.monotonic()
        if now < self._log_at:
            return
        self._log_at = now + _LOG_SECONDS
        admission = self.admission
        counts = {f"refused_{reason.replace(' ', '_')}": count for reason, count in admission.refused.items()}
        _log.warning(
            "attempts are refused: all places are taken, or all of a provider or tenant",
            extra={"running": admission.running, "waiting": admission.waiting, **counts},
        )

    async def _refuse(self, run: AttemptRun, inbox: str, refusal: Failure, reason: str = UNAVAILABLE) -> None:
        count_refusal(run, reason, final=True)
        await self._worker.limits.release(run.attempt_id, 0)
        self._record_refusal(run, refusal)
        refused = frames.RequestRefused(
            request_id=run.request_id,
            decision_id=run.decision_id,
            failure=mark_earlier_charge(refusal, (one.failure for one in run.failed_attempts if not one.no_key)),
            decision=run.decision,
            rate_limits=run.rate_limits,
        )
        try:
            await self._worker.send(inbox, refused.to_frame(), "")
        except NatsError:
            _log.warning("a refusal could not be delivered", extra={"request_id": run.request_id})

    def _record_refusal(self, run: AttemptRun, refusal: Failure) -> None:
        """Record why an attempt was not made; the spool has nothing of it."""
        _fail_current_span(refusal)
        record = refusal_record(
            run,
            refusal,
            worker_id=self._worker.worker_id,
            decision_id=ids.new(ids.DECISION),
            now=datetime.now(UTC),
        )
        self._worker.record_refusal(record)


def _fail_current_span(refusal: Failure) -> None:
    if (span := current_span()) is not None:
        span.fail(refusal.failure_class.value)
