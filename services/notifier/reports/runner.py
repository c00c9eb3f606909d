"""Computes and mails scheduled reports, each period once as far as SMTP allows.

The state `uncertain` is committed before a mail is handed over, and `sent` after the server took it. A process that is killed in
between, or a connection that breaks while the mail is handed over, leaves it uncertain, and it is not sent again, but by hand
(`keyferry reports send`). What fails before is tried again until the third day.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from keyferry.contracts.analytics import MAX_ROWS, BreakDownUsage
from keyferry.contracts.analytics_answers import UsageBreakdown
from keyferry.contracts.usage_mail import ReportRunState, ScheduledReport
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.notifier.channels.address_rules import receiving
from services.notifier.channels.store import ChannelStore
from services.notifier.delivery.outcome import DeliveryOutcome
from services.notifier.delivery.schedule import next_attempt
from services.notifier.mail.message import Mail
from services.notifier.mail.smtp import Mailer
from services.notifier.people import People
from services.notifier.rejection import NotifierRefusal
from services.notifier.reports.calendar import ReportPeriod, period_before, zone_of
from services.notifier.reports.mail_text import report_mail
from services.notifier.reports.store import ClaimedRun, ReportStore

_log = logging.getLogger(__name__)
_EVERY_SECONDS = 5.0

BreakDown = Callable[[BreakDownUsage], Awaitable[UsageBreakdown]]
"""Asks the ledger. Raises Refused and BusError."""


class ReportRunner:
    """Makes and sends reports. `clock` returns the time in UTC."""

    def __init__(
        self,
        store: ReportStore,
        channels: ChannelStore,
        people: People,
        mailer: Mailer,
        break_down: BreakDown,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._channels = channels
        self._people = people
        self._mailer = mailer
        self._break_down = break_down
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look for reports that are due."""
        self._task = asyncio.create_task(self._run(), name="send reports")

    async def stop(self) -> None:
        """Stop; a mail that is being handed over stays uncertain."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def make(self, report: ScheduledReport, period: ReportPeriod) -> Mail:
        """Return the mail of one period. Raises Refused and BusError."""
        zone = zone_of(report, self._people.time_zone(report.tenant))
        query = BreakDownUsage(
            tenant=report.tenant,
            since=period.start,
            until=period.end,
            tz=str(zone),
            by=[report.by],
            tag=report.tag,
            limit=MAX_ROWS,
        )
        return report_mail(report, period, await self._break_down(query))

    def last_period(self, report: ScheduledReport) -> ReportPeriod:
        """Return the period that ended last."""
        return period_before(report, self._people.time_zone(report.tenant), self._clock())

    async def send(self, report: ScheduledReport, mail: Mail) -> DeliveryOutcome:
        """Mail a report to the addresses of its channel. Raises NotifierRefusal if none may receive it."""
        channel = await self._channels.get(report.tenant, report.channel_id)
        recipients = receiving(channel.recipient_states)
        if not recipients:
            raise NotifierRefusal(f"no address of the channel {channel.channel_id} is confirmed or an active member's")
        return await self._mailer.send(mail, recipients)

    async def send_due(self) -> bool:
        """Send one report that is due; return whether there was one. Raises DatabaseUnavailable."""
        await self._store.begin_due(self._clock())
        run = await self._store.claim_run(self._clock())
        if run is None:
            return False
        try:
            report = await self._store.get(run.tenant, run.report_id)
            mail = await self.make(report, self._period_of(run, report))
        except (NotifierRefusal, Refused, BusError) as error:
            await self._retry(run, str(error))
            return True
        await self._store.record(run, ReportRunState.UNCERTAIN, "it was handed to the mail server", self._clock())
        try:
            outcome = await self.send(report, mail)
        except NotifierRefusal as error:
            await self._retry(run, str(error))
            return True
        if outcome.delivered:
            await self._store.record(run, ReportRunState.SENT, outcome.answer, self._clock())
        elif outcome.uncertain:
            await self._store.record(run, ReportRunState.UNCERTAIN, outcome.answer, self._clock())
        else:
            await self._retry(run, outcome.answer)
        return True

    async def _retry(self, run: ClaimedRun, reason: str) -> None:
        now = self._clock()
        again_at = next_attempt(run.period_end, run.attempts, now, 1.0)
        state = ReportRunState.FAILED if again_at is None else ReportRunState.SENDING
        await self._store.record(run, state, reason, now, again_at=again_at)

    def _period_of(self, run: ClaimedRun, report: ScheduledReport) -> ReportPeriod:
        zone: ZoneInfo = zone_of(report, self._people.time_zone(report.tenant))
        first, end = run.period_start.astimezone(zone), run.period_end.astimezone(zone)
        last = (run.period_end - (run.period_end - run.period_start) / 1000).astimezone(zone)
        return ReportPeriod(start=first, end=end, first_day=first.date(), last_day=last.date())

    async def _run(self) -> None:
        while True:
            try:
                while await self.send_due():
                    pass
            except DatabaseUnavailable as error:
                _log.info("reports are sent later: %s", error)
            except Exception:  # the loop must survive any defect; a claim runs out, and the report is tried again
                _log.exception("cannot send a report; retrying")
            await asyncio.sleep(_EVERY_SECONDS)
