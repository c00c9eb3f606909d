"""Handlers of the request log."""

from collections.abc import Callable
from datetime import datetime

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.ledger_management import REQUEST_LIST, REQUEST_SHOW
from keyferry.contracts.request_cursor import InvalidCursor, decode_cursor
from keyferry.contracts.request_log import SHORTEST_ID, ListRequests, RequestPage, ShownRequest, ShowRequest
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import MAX_MESSAGE_BYTES
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.database_outage import refuse_outages
from services.usage_ledger.pricing import Prices
from services.usage_ledger.record_batches import assume_utc
from services.usage_ledger.request_log.arithmetic import explain_cost
from services.usage_ledger.request_log.entries import request_of_attempts, row_of
from services.usage_ledger.request_log.store import MAX_IDS, ManyIds, RequestLogStore
from services.usage_ledger.store import LedgerStore

_MAX_BYTES = MAX_MESSAGE_BYTES // 2
"""Of an answer; tags and messages may be long."""


class RequestLogHandlers:
    """Handlers of one process. Each raises Refused."""

    def __init__(
        self,
        store: RequestLogStore,
        records: LedgerStore,
        prices: Prices,
        plan: BillingPlan,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._records = records
        self._prices = prices
        self._plan = plan
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`."""
        bus.respond(REQUEST_LIST, self.list)
        bus.respond(REQUEST_SHOW, self.show)

    async def list(self, command: ListRequests) -> RequestPage:
        """Return a page of the request log, shorter than asked for if it would not fit into a message."""
        times = {name: getattr(command, name) for name in ("since", "until")}
        known = {name: assume_utc(moment) for name, moment in times.items() if moment is not None}
        if len(known) == 2 and known["since"] >= known["until"]:
            raise Refused(
                ErrorCode.INVALID, "`until` must be later than `since`: the first is excluded, the second not"
            )
        command = command.model_copy(update=known)
        try:
            cursor = None if command.after is None else decode_cursor(command.after, command)
        except InvalidCursor as error:
            raise Refused(ErrorCode.INVALID, f"after: {error}") from None
        while True:
            try:
                with refuse_outages():
                    page = await self._store.page(command, cursor, self._clock())
            except ManyIds:
                message = f"more than {MAX_IDS} requests have an id that begins so: give more than {SHORTEST_ID} characters of it"
                raise Refused(ErrorCode.INVALID, message) from None
            if command.limit == 1 or len(page.encode()) <= _MAX_BYTES:
                return page
            command = command.model_copy(update={"limit": command.limit // 2})

    async def show(self, command: ShowRequest) -> ShownRequest:
        """Return everything that is recorded of a request so far."""
        with refuse_outages():
            rows = await self._records.list_attempts(command.tenant, command.request_id)
            decisions = await self._records.list_decisions(command.tenant, command.request_id)
            request = request_of_attempts([row_of(row) for row in rows]) if rows else None
            if request is None:
                request = await self._store.refusal(command.tenant, command.request_id, self._clock())
        arithmetic = [explain_cost(row, self._prices, self._plan) for row in rows]
        return ShownRequest(request=request, decisions=decisions, attempts=rows, arithmetic=arithmetic)
