"""The attempts that run in this worker process: admission, cancellation and credit."""

import logging
from collections.abc import Mapping

from nats.errors import Error as NatsError
from opentelemetry.trace import SpanKind

from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.runtime.process.telemetry import Span, Telemetry
from services.provider_worker.attempt import Attempt, WorkerContext, is_too_late
from services.provider_worker.attempt_end import failure, unavailable
from services.provider_worker.provider_call import CallPreparer

_log = logging.getLogger(__name__)


class AttemptRegistry:
    """All running attempts of one worker process, up to `capacity`."""

    def __init__(
        self, worker: WorkerContext, providers: Mapping[str, CallPreparer], *, telemetry: Telemetry, capacity: int
    ) -> None:
        self._worker = worker
        self._providers = providers
        self._telemetry = telemetry
        self._capacity = capacity
        self._running: dict[str, Attempt] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def run(self, run: AttemptRun, body: bytes, inbox: str) -> None:
        """Make one attempt, from the check that it may still start to its record. Never raises for the provider's faults."""
        if is_too_late(run):
            # No reply at all: by now the caller may have sent the request again, and only one of them may be paid.
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
            await self._execute(Attempt(run, body, inbox, worker=self._worker, span=span), inbox, span)
        finally:
            span.end()

    def cancel(self, attempt_id: str, tenant: str) -> bool:
        """Cancel an attempt for its caller, and return whether it was running."""
        attempt = self._running_of(attempt_id, tenant)
        if attempt is None:
            return False
        attempt.cancel()
        return True

    def grant(self, attempt_id: str, tenant: str, credit_bytes: int) -> None:
        """Let the caller of an attempt be sent so many more bytes."""
        if (attempt := self._running_of(attempt_id, tenant)) is not None:
            attempt.grant(credit_bytes)

    def unknown(self, attempt_ids: list[str]) -> list[str]:
        """Return those attempts that are not running here."""
        return [attempt_id for attempt_id in attempt_ids if attempt_id not in self._running]

    # --- inside

    def _running_of(self, attempt_id: str, tenant: str) -> Attempt | None:
        attempt = self._running.get(attempt_id)
        return attempt if attempt is not None and attempt.run.tenant == tenant else None

    async def _execute(self, attempt: Attempt, inbox: str, span: Span) -> None:
        run = attempt.run
        try:
            attempt.record_intent()
        except OSError as error:
            _log.error("the spool cannot be written", extra={"error": str(error)})
            span.fail(FailureClass.UNAVAILABLE.value)
            await self._refuse(run, inbox, unavailable("this worker cannot keep accounts: its disk is full or broken"))
            return
        self._running[run.attempt_id] = attempt
        try:
            await attempt.execute(self._providers[run.provider])
        finally:
            del self._running[run.attempt_id]

    def _refusal(self, run: AttemptRun) -> Failure | None:
        if run.provider not in self._providers:
            message = f"this worker does not know the provider {run.provider}"
            return failure(FailureClass.INTERNAL, message, Where.GATEWAY)
        if len(self._running) >= self._capacity:
            return Failure(
                failure_class=FailureClass.OVERLOADED,
                message="the gateway cannot take another attempt right now",
                retry_after_ms=1000,
            )
        return None

    async def _refuse(self, run: AttemptRun, inbox: str, refusal: Failure) -> None:
        refused = frames.RequestRefused(request_id=run.request_id, decision_id=run.decision_id, failure=refusal)
        try:
            await self._worker.send(inbox, refused.to_frame(), "")
        except NatsError:
            _log.warning("a refusal could not be delivered", extra={"request_id": run.request_id})
