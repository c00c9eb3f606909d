"""The ledger's doors: batches from the streams, and management requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.errors import Error as NatsError

from keyferry.contracts.audit import AuditEntries, AuditVerification, ListAudit, VerifyAudit
from keyferry.contracts.route import Decision, GetDecision
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import (
    ATTEMPT_FINISHED,
    ATTEMPT_LIST,
    AUDIT_LIST,
    AUDIT_RECORDED,
    AUDIT_VERIFY,
    DECISION_GET,
    REQUEST_DECIDED,
    USAGE_SUMMARIZE,
)
from keyferry.contracts.usage import Attempts, GetAttempts, SummarizeUsage, UsageSummary
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.views import SnapshotFailed
from services.usage_ledger.auditing import Auditing
from services.usage_ledger.ingest import Ingest
from services.usage_ledger.intake import zoned
from services.usage_ledger.store import LedgerStore, SummaryTooLong


class Handlers:
    """Answers and batches of one process. Answers raise Refused where there is none."""

    def __init__(self, store: LedgerStore, ingest: Ingest, auditing: Auditing) -> None:
        self._store = store
        self._ingest = ingest
        self._auditing = auditing

    def register(self, bus: Bus) -> None:
        """Hear on `bus` whatever the topology has the ledger hear."""
        bus.pull(ATTEMPT_FINISHED, self._ingest.on_attempts)
        bus.pull(REQUEST_DECIDED, self._ingest.on_decisions)
        bus.pull(AUDIT_RECORDED, self._auditing.on_events)
        bus.respond(AUDIT_LIST, self.list_audit)
        bus.respond(AUDIT_VERIFY, self.verify_audit)
        bus.respond(USAGE_SUMMARIZE, self.summarize)
        bus.respond(ATTEMPT_LIST, self.list_attempts)
        bus.respond(DECISION_GET, self.get_decision)

    async def summarize(self, command: SummarizeUsage) -> UsageSummary:
        """A tenant's usage; a tenant without any has a summary of zeros."""
        since = zoned(command.since) if command.since else None
        until = zoned(command.until) if command.until else None
        if since and until and until <= since:
            raise Refused(
                ErrorCode.INVALID, "`until` must be later than `since`: the first is excluded, the second not"
            )
        command = command.model_copy(update={"since": since, "until": until})
        async with _refusing():
            return await self._store.summarize(command)

    async def list_attempts(self, command: GetAttempts) -> Attempts:
        """The attempts of one request that have arrived."""
        async with _refusing():
            return Attempts(rows=await self._store.attempts_of(command.tenant, command.request_id))

    async def get_decision(self, command: GetDecision) -> Decision:
        """The decision records of one request, once they have arrived."""
        async with _refusing():
            records = await self._store.decisions_of(command.tenant, command.request_id)
            return Decision(record=records[0] if records else None, later=records[1:])

    async def list_audit(self, command: ListAudit) -> AuditEntries:
        """A page of a tenant's audit, newest first."""
        async with _refusing():
            return await self._auditing.entries(command)

    async def verify_audit(self, command: VerifyAudit) -> AuditVerification:
        """Whether the audit is whole and unchanged."""
        async with _refusing():
            return await self._auditing.verify(command)


@asynccontextmanager
async def _refusing() -> AsyncIterator[None]:
    """Outages and limits as refusals."""
    try:
        yield
    except (SnapshotFailed, NatsError):
        message = "the signed ends of the audit chains cannot be read from the bus now: ask again in a moment"
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
    except DatabaseUnavailable:
        message = (
            "the usage ledger cannot reach its database: ask again in a moment; `keyferry doctor` tells what is missing"
        )
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
    except SummaryTooLong:
        message = "the summary has too many providers and models for one answer: ask for a shorter time"
        raise Refused(ErrorCode.INVALID, message) from None
