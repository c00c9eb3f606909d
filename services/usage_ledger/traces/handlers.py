"""The handler of requests for a trace."""

from collections.abc import Callable
from datetime import datetime, timedelta

from keyferry.contracts.service import ErrorCode
from keyferry.contracts.traces import TRACE_GET, GetTrace, StoredTrace, TraceAbsence
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.direct_get import StreamUnreadable
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.database_outage import refuse_outages
from services.usage_ledger.request_log.store import RequestLogStore
from services.usage_ledger.store import LedgerStore
from services.usage_ledger.traces.absence import RequestFacts, explain_absence, request_facts
from services.usage_ledger.traces.reading import TraceMessages, read_kept_since, read_trace
from services.usage_ledger.traces.selection import select_spans
from services.usage_ledger.traces.store import TraceStore

_CLOCKS_DIFFER_BY = timedelta(minutes=1)
"""Spans are stored by the server's clock, requests begin by a service's."""


class TraceHandlers:
    """Handlers of one process. They raise Refused."""

    def __init__(
        self, bus: Bus, traces: TraceStore, records: LedgerStore, log: RequestLogStore, clock: Callable[[], datetime]
    ) -> None:
        self._bus = bus
        self._traces = traces
        self._records = records
        self._log = log
        self._clock = clock

    def register(self) -> None:
        """Subscribe on the bus."""
        self._bus.respond(TRACE_GET, self.get)

    async def get(self, command: GetTrace) -> StoredTrace:
        """Return the spans of one of a tenant's requests, or those of the tenant in a trace; or why there are none."""
        if (command.request_id is None) == (command.trace_id is None):
            raise Refused(ErrorCode.INVALID, "give `request_id` or `trace_id`, and not both")
        if command.request_id is not None:
            return await self._of_request(command.tenant, command.request_id)
        assert command.trace_id is not None
        return await self._of_trace(command.tenant, command.trace_id)

    async def _of_request(self, tenant: str, request_id: str) -> StoredTrace:
        facts = await self._facts(tenant, request_id)
        if facts is None or facts.trace_id is None:
            return await self._absent(tenant, request_id, None, facts)
        found = await self._read(facts.trace_id, facts.began_at - _CLOCKS_DIFFER_BY)
        selected = select_spans(found.spans, tenant, {request_id}, request_id)
        if not selected.spans:
            return await self._absent(tenant, request_id, facts.trace_id, facts, found.unread)
        return StoredTrace(
            tenant=tenant,
            request_id=request_id,
            trace_id=facts.trace_id,
            spans=list(selected.spans),
            omitted=selected.omitted + found.unread,
        )

    async def _of_trace(self, tenant: str, trace_id: str) -> StoredTrace:
        with refuse_outages():
            requests = await self._traces.list_requests(tenant, trace_id)
        found = await self._read(trace_id, None)
        selected = select_spans(found.spans, tenant, frozenset(requests), None)
        first = requests[0] if requests else None
        if not selected.spans:
            facts = None if first is None else await self._facts(tenant, first)
            return await self._absent(tenant, first, trace_id, facts, found.unread)
        return StoredTrace(
            tenant=tenant,
            request_id=first,
            trace_id=trace_id,
            spans=list(selected.spans),
            omitted=selected.omitted + found.unread,
        )

    async def _facts(self, tenant: str, request_id: str) -> RequestFacts | None:
        with refuse_outages():
            rows = await self._records.list_attempts(tenant, request_id)
            decisions = await self._records.list_decisions(tenant, request_id)
            refusal = None if rows else await self._log.refusal(tenant, request_id, self._clock())
        return request_facts(rows, decisions, refusal)

    async def _read(self, trace_id: str, stored_after: datetime | None) -> TraceMessages:
        try:
            return await read_trace(self._bus.client, trace_id, stored_after)
        except StreamUnreadable as error:
            raise _unavailable(error) from None

    async def _absent(
        self, tenant: str, request_id: str | None, trace_id: str | None, facts: RequestFacts | None, unread: int = 0
    ) -> StoredTrace:
        try:
            kept_since = await read_kept_since(self._bus.client)
        except StreamUnreadable as error:
            raise _unavailable(error) from None
        absence = explain_absence(facts, kept_since, self._clock())
        # What nobody recorded may be spans of another tenant, whose number is not this tenant's affair.
        omitted = 0 if absence is TraceAbsence.NO_RECORD else unread
        return StoredTrace(
            tenant=tenant,
            request_id=request_id,
            trace_id=trace_id if facts is not None else None,
            absence=absence,
            kept_since=kept_since,
            omitted=omitted,
        )


def _unavailable(error: StreamUnreadable) -> Refused:
    message = f"the stored spans cannot be read now ({error}): try again in a moment; `keyferry doctor` shows the cause"
    return Refused(ErrorCode.UNAVAILABLE, message)
