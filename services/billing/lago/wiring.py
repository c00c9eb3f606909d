"""Assembles what reports to Lago."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from keyferry.contracts.alert_events import ReportAlert
from keyferry.contracts.alert_management import ALERT_REPORT
from keyferry.contracts.alert_metrics import AlertMetric
from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.payment_management import PAYMENT_CHANGED
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import ATTEMPT_FINISHED
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.service_database import ServiceDatabase
from keyferry.runtime.integration_secrets import IntegrationSecrets, NoSuchSecret
from keyferry.runtime.process.lifecycle import Service
from services.billing.lago.client import LagoClient, LagoUnavailable
from services.billing.lago.consumer import AttemptReporter
from services.billing.lago.customers import LagoCustomerDirectory
from services.billing.lago.handlers import NO_KEY, LagoHandlers
from services.billing.lago.purchase_booker import PurchaseBooker
from services.billing.lago.purchase_store import PurchaseStore
from services.billing.lago.reporter import LagoReporter
from services.billing.lago.store import LagoStore

_log = logging.getLogger(__name__)
_ASK_SECONDS = 5.0


class BacklogAlert:
    """Reports whether attempts wait for too long, once per change."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._raised: bool | None = None

    async def report(self, raised: bool, text: str) -> None:
        """Raise or resolve the alert; what could not be reported is reported with the next batch."""
        if raised is self._raised:
            return
        question = ReportAlert(tenant=PLATFORM_TENANT, metric=AlertMetric.LAGO_BACKLOG, raised=raised, text=text)
        try:
            await self._bus.ask(ALERT_REPORT, question, timeout_seconds=_ASK_SECONDS)
        except (BusError, Refused) as error:
            _log.warning("cannot report the backlog of Lago", extra={"reason": str(error)})
        else:
            self._raised = raised


async def _api_key(secrets: IntegrationSecrets) -> Secret:
    try:
        return (await secrets.get(PLATFORM_TENANT, IntegrationKind.LAGO_API_KEY)).current
    except NoSuchSecret:
        raise LagoUnavailable(
            f"{NO_KEY}: save it with `keyferry integrations add lago_api_key --tenant {PLATFORM_TENANT}`"
        ) from None
    except (BusError, Refused) as error:
        raise LagoUnavailable(f"the key vault does not answer: {error}") from None


class LagoPart:
    """What one process has about Lago; without a URL it acknowledges attempts and reports none."""

    def __init__(
        self,
        service: Service,
        database: ServiceDatabase,
        secrets: IntegrationSecrets,
        url: str | None,
        plan: str | None,
    ) -> None:
        clock: Callable[[], datetime] = partial(datetime.now, UTC)
        bus = service.bus
        self._store, purchases, self._clock = LagoStore(database), PurchaseStore(database), clock
        self._client = None if url is None else LagoClient(url, partial(_api_key, secrets))
        customers = None if self._client is None else LagoCustomerDirectory(self._store, self._client, plan, clock)
        reporter = None
        if self._client is not None and customers is not None:
            reporter = LagoReporter(self._store, self._client, customers, clock)
        self._since: datetime | None = None
        self.attempts = AttemptReporter(reporter, lambda: self._since, BacklogAlert(bus).report, clock)
        self._booker = PurchaseBooker(purchases, self._client, customers, clock)
        bus.pull(ATTEMPT_FINISHED, self.attempts.on_attempts)
        bus.pull(PAYMENT_CHANGED, self._booker.on_changes)
        bus.pull_rest(PAYMENT_CHANGED, self._booker.on_changes)
        LagoHandlers(
            bus, self._store, purchases, self.attempts, reporter, customers, url=url, plan=plan, clock=clock
        ).register()
        service.opens(self.open, self.close)
        service.leaves(self.leave)

    async def open(self) -> None:
        """Remember from when on attempts are reported, and begin to book payments."""
        if self._client is None:
            await self._store.end()
        else:
            self._since = await self._store.begin(self._clock())
        await self._booker.start()

    async def leave(self) -> None:
        """Return the attempts in hand to the stream if Lago does not answer."""
        self.attempts.stop()

    async def close(self) -> None:
        """Stop to book, and disconnect."""
        await self._booker.stop()
        if self._client is not None:
            await self._client.close()

    def facts(self) -> dict[str, str]:
        """Return how reporting is going, for the report of the process."""
        if self._client is None:
            return {"lago": "off"}
        error = self.attempts.last_error
        return {
            "lago": "reporting" if error is None else "failing",
            "lago_waiting_batches": str(self.attempts.waiting_messages),
        } | ({} if error is None else {"lago_error": error})
