"""When a rule would have fired in the last days: what is recorded, replayed through the evaluation."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.alert_metrics import METRICS, AlertMetric, MetricKind
from keyferry.contracts.alert_rules import AlertPreview, AlertRule, AlertRuleTerms, PreviewAlertRule
from keyferry.contracts.credit import credits_account
from keyferry.contracts.credit_management import from_micro_usd
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.usage_ledger.accounts.credits import DEFAULT_LOW_BELOW_MICRO_USD
from services.usage_ledger.alerts.fact_reading import TenantKeys
from services.usage_ledger.alerts.facts import TenantFacts
from services.usage_ledger.alerts.replay import (
    MAX_PREVIEWED,
    Replay,
    replay_balances,
    replay_outages,
    replay_usage,
    replay_uses,
)
from services.usage_ledger.alerts.tenant_usage import TenantUsage, is_compared, rule_span
from services.usage_ledger.alerts.usage_reading import read_first, read_span, read_uses
from services.usage_ledger.alerts.windows import COMPARED_WEEKS, QUARTERS_OF_DAY
from services.usage_ledger.analytics.periods import floor_quarter
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.outage_store import OutageStore

_PREVIEWED_RULE = "alr_preview"
_COMPARED_QUARTERS = (COMPARED_WEEKS * 7 + 1) * QUARTERS_OF_DAY
_MOST_OUTAGES = 200
_TIMEOUT = text("SET LOCAL statement_timeout = 60000")
_LOW_BELOW = text("SELECT low_below_micro_usd FROM usage_ledger.credit_settings WHERE tenant = :tenant")
_BALANCES = text("""
WITH entries AS (
    SELECT id, amount AS change, recorded_at AS at FROM usage_ledger.transfers
    WHERE credit = :account AND debit LIKE 'platform/%' AND phase IN ('posted', 'post')
    UNION ALL
    SELECT id, -amount, recorded_at FROM usage_ledger.transfers
    WHERE debit = :account AND credit LIKE 'platform/%' AND debit NOT LIKE 'lease/%' AND phase IN ('posted', 'post')
    UNION ALL
    SELECT 'usage:' || to_char(day, 'YYYY-MM-DD'), -amount, last_at FROM usage_ledger.account_days WHERE account = :account
)
SELECT at, balance FROM (SELECT at, id, sum(change) OVER (ORDER BY at, id) AS balance FROM entries) AS running
WHERE at >= :since ORDER BY at, id
""")
_NOT_RECORDED = "what is recorded does not say what this was in the past: the rule can be saved, and fires from now on"


class AlertPreviews(TransactionalStore):
    """Previews rules. Raises DatabaseUnavailable."""

    def __init__(
        self,
        engine: AsyncEngine,
        outages: OutageStore,
        keys: TenantKeys,
        zone_of: Callable[[str], ZoneInfo],
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(engine)
        self._outages = outages
        self._keys = keys
        self._zone_of = zone_of
        self._clock = clock

    async def preview(self, command: PreviewAlertRule) -> AlertPreview:
        """Return when a rule would have fired in the last days."""
        now = self._clock()
        since = now - timedelta(days=command.days)
        terms = command.model_dump(include=set(AlertRuleTerms.model_fields) - {"enabled"})
        rule = AlertRule.model_validate(terms | {"rule_id": _PREVIEWED_RULE, "revision": 0})
        metric = METRICS[rule.metric]
        if not metric.can_be_previewed:
            return AlertPreview(
                since=since, until=now, can_be_previewed=False, reason=_NOT_RECORDED, unit=metric.unit, fired=0
            )
        replay = await self._replay(rule, since, now)
        return AlertPreview(
            since=since,
            until=now,
            can_be_previewed=True,
            unit=metric.unit,
            fired=len(replay.alerts),
            alerts=replay.alerts[-MAX_PREVIEWED:],
            points=replay.points,
        )

    async def _replay(self, rule: AlertRule, since: datetime, now: datetime) -> Replay:
        kind = METRICS[rule.metric].kind
        zone = self._zone_of(rule.tenant)
        if kind is MetricKind.OUTAGES:
            owner = None if rule.tenant == PLATFORM_TENANT else rule.tenant
            found, _ = await self._outages.list_outages(owner, since, now, _MOST_OUTAGES, now)
            return replay_outages(rule, found, since, zone)
        if kind is MetricKind.CREDITS:
            return replay_balances(rule, *await self._read_balances(rule.tenant, since), zone)
        if kind is MetricKind.KEY_USE and rule.metric is not AlertMetric.KEY_BURST:
            return await self._replay_uses(rule, since, now, zone)
        return await self._replay_usage(rule, since, now, zone)

    async def _replay_usage(self, rule: AlertRule, since: datetime, now: datetime, zone: ZoneInfo) -> Replay:
        first, last = floor_quarter(since), floor_quarter(now)
        begin = rule_span(rule, since, zone).since
        if is_compared(rule):
            begin = min(begin, first - _COMPARED_QUARTERS)
        async with self.snapshot() as connection:
            await connection.execute(_TIMEOUT)
            cells = await read_span(connection, rule.tenant, rule, begin, last + 1)
            first_recorded = await read_first(connection, rule.tenant)
        return replay_usage(rule, cells, first, last, first_recorded, zone)

    async def _replay_uses(self, rule: AlertRule, since: datetime, now: datetime, zone: ZoneInfo) -> Replay:
        async with self.snapshot() as connection:
            uses = await read_uses(connection, rule.tenant, now)
        facts = TenantFacts(zone=zone, keys=self._keys.of(rule.tenant), usage=TenantUsage(rules=[rule]))
        return replay_uses(rule, uses, floor_quarter(since), floor_quarter(now), facts)

    async def _read_balances(self, tenant: str, since: datetime) -> tuple[list[tuple[datetime, Decimal]], Decimal]:
        values = {"account": credits_account(tenant), "since": since}
        async with self.snapshot() as connection:
            rows = (await connection.execute(_BALANCES, values)).all()
            low_below = await connection.scalar(_LOW_BELOW, {"tenant": tenant})
        limit = DEFAULT_LOW_BELOW_MICRO_USD if low_below is None else low_below
        balances = [(row.at.astimezone(UTC), from_micro_usd(int(row.balance))) for row in rows]
        return balances, from_micro_usd(limit)
