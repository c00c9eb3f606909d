"""Handlers of requests about Lago."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time, timedelta

from keyferry.contracts.lago import (
    BackfillLago,
    GetLagoStatus,
    LagoBackfill,
    LagoCustomer,
    LagoCustomers,
    LagoCustomerState,
    LagoOutcome,
    LagoStatus,
    ListLagoCustomers,
    ListParkedLagoEvents,
    ParkedLagoEvents,
    ReplayedLagoEvents,
    ReplayLagoEvents,
    ReportingState,
    SaveLagoCustomer,
)
from keyferry.contracts.lago_management import (
    LAGO_BACKFILL,
    LAGO_CUSTOMER_LIST,
    LAGO_CUSTOMER_SAVE,
    LAGO_EVENT_LIST,
    LAGO_EVENT_REPLAY,
    LAGO_STATUS,
)
from keyferry.contracts.reconciliation import MAX_ATTEMPTS, ListUsageAttempts
from keyferry.contracts.reconciliation_management import USAGE_LIST_ATTEMPTS
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.usage import AttemptRecord
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.billing.lago.client import LagoUnavailable
from services.billing.lago.consumer import AttemptReporter
from services.billing.lago.customers import LagoCustomerDirectory, external_id
from services.billing.lago.events import usage_event
from services.billing.lago.purchase_store import PurchaseStore
from services.billing.lago.reporter import LagoReporter, add_outcomes
from services.billing.lago.store import LagoStore

_ASK_SECONDS = 20.0
_MOST_REPLAYED = 500
NO_KEY = "there is no API key of Lago"
"""The beginning of the error while the vault has none."""
OFF = (
    "Lago is not used: set KEYFERRY_LAGO_URL for the billing service, and save its API key with"
    " `keyferry integrations add lago_api_key --tenant platform`"
)
BEYOND = "a customer in Lago is the operators' choice, and what is reported is not the tenant's to read"


class LagoHandlers:
    """Handlers of one process. They raise Refused. `reporter` and `customers` are None while Lago is not used."""

    def __init__(
        self,
        bus: Bus,
        store: LagoStore,
        purchases: PurchaseStore,
        attempts: AttemptReporter,
        reporter: LagoReporter | None,
        customers: LagoCustomerDirectory | None,
        *,
        url: str | None,
        plan: str | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._bus = bus
        self._store = store
        self._purchases = purchases
        self._attempts = attempts
        self._reporter = reporter
        self._customers = customers
        self._url = url
        self._plan = plan
        self._clock = clock

    def register(self) -> None:
        """Subscribe to these subjects of the topology."""
        self._bus.respond(LAGO_STATUS, self.status)
        self._bus.respond(LAGO_BACKFILL, self.backfill, all_tenants=BEYOND)
        self._bus.respond(LAGO_CUSTOMER_SAVE, self.save_customer, all_tenants=BEYOND)
        self._bus.respond(LAGO_CUSTOMER_LIST, self.list_customers)
        self._bus.respond(LAGO_EVENT_LIST, self.list_parked)
        self._bus.respond(LAGO_EVENT_REPLAY, self.replay)

    async def status(self, command: GetLagoStatus) -> LagoStatus:
        """Return how reporting is going."""
        async with _refusing_outages():
            progress = await self._store.read_progress()
            waiting = await self._purchases.count_open()
        since, last = progress.get("since"), progress.get("last_accepted_at")
        return LagoStatus(
            state=self._state(),
            url=self._url,
            plan=self._plan,
            since=None if since is None else since.astimezone(UTC),
            waiting_messages=self._attempts.waiting_messages,
            oldest_waiting_at=self._attempts.oldest_waiting_at,
            accepted=progress.get("accepted", 0),
            known=progress.get("known", 0),
            skipped=progress.get("skipped", 0),
            parked=progress["parked"],
            purchases_waiting=waiting,
            last_accepted_at=None if last is None else last.astimezone(UTC),
            last_error=self._attempts.last_error,
        )

    def _state(self) -> ReportingState:
        if self._reporter is None:
            return ReportingState.OFF
        error = self._attempts.last_error
        if error is None:
            return ReportingState.REPORTING
        return ReportingState.NO_KEY if error.startswith(NO_KEY) else ReportingState.FAILING

    async def save_customer(self, command: SaveLagoCustomer) -> LagoCustomer:
        """Choose a tenant's customer. Nothing is called: Lago refuses events of a subscription that it does not have later."""
        if command.tenant == PLATFORM_TENANT:
            raise Refused(ErrorCode.INVALID, "the platform's own attempts are not reported: name a tenant")
        name = external_id(command.tenant)
        customer = LagoCustomer(
            tenant=command.tenant,
            state=LagoCustomerState.SKIPPED if command.skipped else LagoCustomerState.REPORTED,
            external_customer_id=command.external_customer_id or name,
            external_subscription_id=command.external_subscription_id or name,
            wallet_id=command.wallet_id,
            created_by=command.actor,
            updated_at=self._clock(),
        )
        async with _refusing_outages():
            saved = await self._store.save_customer(customer, actor=command.actor, replace=True)
        if self._customers is not None:
            self._customers.forget(command.tenant)
        return saved

    async def list_customers(self, command: ListLagoCustomers) -> LagoCustomers:
        """Return a page of customers."""
        async with _refusing_outages():
            found = await self._store.list_customers(command.only, command.after, command.limit)
        return LagoCustomers(customers=found, next=found[-1].tenant if len(found) == command.limit else None)

    async def list_parked(self, command: ListParkedLagoEvents) -> ParkedLagoEvents:
        """Return a page of events that Lago refuses."""
        async with _refusing_outages():
            total, found = await self._store.list_parked(command)
        following = found[-1].attempt_id if len(found) == command.limit else None
        return ParkedLagoEvents(total=total, events=found, next=following)

    async def replay(self, command: ReplayLagoEvents) -> ReplayedLagoEvents:
        """Report refused events again."""
        reporter = self._require()
        async with _refusing_outages():
            events = await self._store.read_parked(command.attempt_ids, _MOST_REPLAYED)
            if command.attempt_ids and len(events) < len(set(command.attempt_ids)):
                raise Refused(ErrorCode.NOT_FOUND, "not all of these attempts are parked: list them first")
            details = {"events": str(len(events))}
            await self._store.audit_replay(command.actor, PLATFORM_TENANT, "parked events", details)
            settled = await reporter.report(events)
            refused = {event.attempt_id for event, _ in settled.parked}
            await self._store.remove_parked({event.attempt_id for event in events} - refused)
            total, _ = await self._store.list_parked(ListParkedLagoEvents(limit=1))
        return ReplayedLagoEvents(outcome=settled.outcome(), left=total)

    async def backfill(self, command: BackfillLago) -> LagoBackfill:
        """Report a tenant's attempts from the ledger."""
        reporter = self._require()
        since = datetime.combine(command.since, time(), UTC)
        until = datetime.combine(command.until, time(), UTC) + timedelta(days=1)
        details = {"since": command.since.isoformat(), "until": command.until.isoformat()}
        count, outcome = 0, LagoOutcome()
        async with _refusing_outages():
            await self._store.audit_replay(command.actor, command.tenant, "attempts of the ledger", details)
            async for page in self._pages(command.tenant, since, until):
                events = [event for record in page if (event := usage_event(record)) is not None]
                count += len(page)
                without = LagoOutcome(skipped=len(page) - len(events))
                settled = await reporter.report(events)
                outcome = add_outcomes(outcome, add_outcomes(without, settled.outcome()))
        return LagoBackfill(
            tenant=command.tenant, since=command.since, until=command.until, attempts=count, outcome=outcome
        )

    async def _pages(self, tenant: str, since: datetime, until: datetime) -> AsyncIterator[list[AttemptRecord]]:
        after: str | None = None
        while True:
            question = ListUsageAttempts(tenant=tenant, since=since, until=until, after=after)
            found = await self._bus.ask(USAGE_LIST_ATTEMPTS, question, timeout_seconds=_ASK_SECONDS)
            if found.rows:
                yield [row.record for row in found.rows]
                after = found.rows[-1].record.attempt_id
            if len(found.rows) < MAX_ATTEMPTS:
                return

    def _require(self) -> LagoReporter:
        if self._reporter is None:
            raise Refused(ErrorCode.UNAVAILABLE, OFF)
        return self._reporter


@asynccontextmanager
async def _refusing_outages() -> AsyncIterator[None]:
    try:
        yield
    except DatabaseUnavailable:
        message = (
            "the billing service cannot reach its database: try again in a moment; `keyferry doctor` shows the cause"
        )
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
    except LagoUnavailable as error:
        raise Refused(
            ErrorCode.UNAVAILABLE, f"{error}. What was reported before stays reported: try again later"
        ) from None
    except Refused:
        raise
    except BusError as error:
        raise Refused(ErrorCode.UNAVAILABLE, f"the usage ledger does not answer: {error}") from None
