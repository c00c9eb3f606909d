"""Handlers of the ledger: batches from the streams, and management requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from keyferry.contracts.audit import AuditEntries, AuditVerification, ListAudit, VerifyAudit
from keyferry.contracts.health import ListOutages, Outages
from keyferry.contracts.notification_management import USAGE_GET_PRICED
from keyferry.contracts.past_decisions import ListDecisions, PastDecisions
from keyferry.contracts.route import Decision, GetDecision
from keyferry.contracts.routing_management import DECISION_LIST
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import (
    ATTEMPT_FINISHED,
    ATTEMPT_LIST,
    AUDIT_LIST,
    AUDIT_RECORDED,
    AUDIT_VERIFY,
    DEAD_LETTER_DISCARD,
    DEAD_LETTER_LIST,
    DECISION_GET,
    HEALTH_CHANGED,
    OUTAGE_LIST,
    REQUEST_DECIDED,
    USAGE_SUMMARIZE,
)
from keyferry.contracts.usage import (
    Attempts,
    DeadLetters,
    DiscardDeadLetters,
    Discarded,
    GetAttempts,
    ListDeadLetters,
    SummarizeUsage,
    UsageSummary,
)
from keyferry.contracts.webhooks import GetPricedAttempts, PricedAttempts
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import SnapshotFailed
from services.usage_ledger.audit_log import AuditLog
from services.usage_ledger.database_outage import refuse_outages
from services.usage_ledger.dead_letter_stream import DeadLetterStream
from services.usage_ledger.health_history import EmptySpan, HealthHistory
from services.usage_ledger.ingestion import Ingestion
from services.usage_ledger.past_decision_store import PastDecisionStore
from services.usage_ledger.record_batches import assume_utc
from services.usage_ledger.store import LedgerStore
from services.usage_ledger.usage_store import SummaryTooLong, UsageStore

_LINGER_SECONDS = 0.1
"""Between batches that are not full: a transaction has some twenty statements, which cost the same for many records."""


class Handlers:
    """Handlers of one process. Those of requests raise Refused."""

    def __init__(
        self,
        store: LedgerStore,
        usage: UsageStore,
        past_decisions: PastDecisionStore,
        ingestion: Ingestion,
        audit_log: AuditLog,
        dead_letters: DeadLetterStream,
        health_history: HealthHistory,
    ) -> None:
        self._store = store
        self._usage = usage
        self._past_decisions = past_decisions
        self._ingestion = ingestion
        self._audit_log = audit_log
        self._dead_letters = dead_letters
        self._health_history = health_history

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the ledger's subjects of the topology."""
        bus.pull(ATTEMPT_FINISHED, self._ingestion.on_attempts, linger_seconds=_LINGER_SECONDS)
        bus.pull(REQUEST_DECIDED, self._ingestion.on_decisions, linger_seconds=_LINGER_SECONDS)
        bus.pull(AUDIT_RECORDED, self._audit_log.on_events)
        bus.pull(HEALTH_CHANGED, self._health_history.on_changes)
        bus.respond(OUTAGE_LIST, self.list_outages)
        bus.respond(AUDIT_LIST, self.list_audit)
        bus.respond(AUDIT_VERIFY, self.verify_audit)
        bus.respond(DEAD_LETTER_LIST, self.list_dead_letters)
        bus.respond(DEAD_LETTER_DISCARD, self.discard_dead_letters)
        bus.respond(USAGE_SUMMARIZE, self.summarize)
        bus.respond(ATTEMPT_LIST, self.list_attempts)
        bus.respond(USAGE_GET_PRICED, self.get_priced)
        bus.respond(DECISION_GET, self.get_decision)
        bus.respond(DECISION_LIST, self.list_decisions)

    async def summarize(self, command: SummarizeUsage) -> UsageSummary:
        """Sum a tenant's usage; all zeros if there is none."""
        since = assume_utc(command.since) if command.since else None
        until = assume_utc(command.until) if command.until else None
        if since and until and until <= since:
            raise Refused(
                ErrorCode.INVALID, "`until` must be later than `since`: the first is excluded, the second not"
            )
        command = command.model_copy(update={"since": since, "until": until})
        async with _refuse_errors():
            return await self._usage.summarize(command)

    async def list_attempts(self, command: GetAttempts) -> Attempts:
        """Return the attempts of one request that are recorded so far."""
        async with _refuse_errors():
            return Attempts(rows=await self._store.list_attempts(command.tenant, command.request_id))

    async def get_priced(self, command: GetPricedAttempts) -> PricedAttempts:
        """Return those of a tenant's attempts that are recorded so far."""
        async with _refuse_errors():
            return PricedAttempts(rows=await self._store.get_attempts(command.tenant, command.attempt_ids))

    async def get_decision(self, command: GetDecision) -> Decision:
        """Return the decision records of one request that are recorded so far."""
        async with _refuse_errors():
            records = await self._store.list_decisions(command.tenant, command.request_id)
            return Decision(record=records[0] if records else None, later=records[1:])

    async def list_decisions(self, command: ListDecisions) -> PastDecisions:
        """Return a page of past decisions, newest first."""
        async with _refuse_errors():
            return await self._past_decisions.page(command)

    async def list_outages(self, command: ListOutages) -> Outages:
        """Return the outages in a span of time, and what they did to requests as far as it is recorded."""
        async with _refuse_errors():
            try:
                return await self._health_history.list_outages(command)
            except EmptySpan as error:
                raise Refused(ErrorCode.INVALID, str(error)) from None

    async def list_audit(self, command: ListAudit) -> AuditEntries:
        """Return a page of a tenant's audit, newest first."""
        async with _refuse_errors():
            return await self._audit_log.entries(command)

    async def verify_audit(self, command: VerifyAudit) -> AuditVerification:
        """Verify that the audit is complete and unchanged."""
        async with _refuse_errors():
            return await self._audit_log.verify(command)

    async def list_dead_letters(self, command: ListDeadLetters) -> DeadLetters:
        """Return a page of dead letters, oldest first."""
        async with refuse_bus_errors():
            return await self._dead_letters.list(command)

    async def discard_dead_letters(self, command: DiscardDeadLetters) -> Discarded:
        """Remove dead letters up to a number, or one; the audit has it before they are gone."""
        async with refuse_bus_errors(), _refuse_errors():
            if command.only and await self._dead_letters.get(command.up_to) is None:
                raise Refused(ErrorCode.NOT_FOUND, f"there is no dead letter {command.up_to}: nothing was removed")
            if not await self._dead_letters.has_up_to(command.up_to):
                raise Refused(
                    ErrorCode.NOT_FOUND, f"there is no dead letter up to number {command.up_to}: nothing was removed"
                )
            number = str(command.up_to)
            target, details = (
                (f"dead letter {number}", {"only": number})
                if command.only
                else (f"dead letters up to {number}", {"up_to": number})
            )
            await self._audit_log.record(command.actor, "dead_letter.discard", target, details)
            return await self._dead_letters.discard(command)


@asynccontextmanager
async def refuse_bus_errors() -> AsyncIterator[None]:
    """Refuse the request while the stream of dead letters cannot be used."""
    try:
        yield
    except (NatsError, APIError, TimeoutError):
        message = (
            "the stream of dead letters cannot be used now: try again in a moment; `keyferry doctor` shows the cause"
        )
        raise Refused(ErrorCode.UNAVAILABLE, message) from None


@asynccontextmanager
async def _refuse_errors() -> AsyncIterator[None]:
    """Refuse the request on an outage or an exceeded limit."""
    try:
        with refuse_outages():
            yield
    except (SnapshotFailed, NatsError):
        message = "the signed heads of the audit chains cannot be read from the bus now: try again in a moment"
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
    except SummaryTooLong:
        message = "the summary has too many providers and models for one answer: choose a shorter period"
        raise Refused(ErrorCode.INVALID, message) from None
