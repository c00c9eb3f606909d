"""What the platform has paid and earned, summed over the attempts."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.charges import GetMargin, Margin, MarginRow, PlanShare
from keyferry.contracts.credit import MICRO
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.money import bounded
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tier
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.accounts.transfer import UNCOLLECTED
from services.usage_ledger.charges import sql
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.record_batches import assume_utc


class MarginStore(TransactionalStore):
    """The margin report."""

    def __init__(self, engine: AsyncEngine, plan: BillingPlan, clock: Callable[[], datetime]) -> None:
        super().__init__(engine)
        self._plan = plan
        self._clock = clock

    async def read(self, command: GetMargin) -> Margin:
        """Return cost and revenue by tier and level, corrections included. Raises Refused and DatabaseUnavailable."""
        since, until = assume_utc(command.since), assume_utc(command.until or self._clock())
        if until <= since:
            raise Refused(ErrorCode.INVALID, "`until` must be later than `since`")
        async with self.transaction() as connection:
            span = {"since": since, "until": until}
            shares = await connection.execute(text(sql.UNCOLLECTED_SHARES), span | {"source": UNCOLLECTED})
            lost = {(row.tier, row.level): int(row.amount) for row in shares}
            rows = (await connection.execute(text(sql.MARGIN), span)).mappings()
            found = [_margin_row(row, lost.get((row["tier"], row["level"]), 0)) for row in rows]
        return Margin(
            since=since.astimezone(UTC),
            until=until.astimezone(UTC),
            plan_version=self._plan.version,
            rows=found,
            total=_total(found),
            below_cost=[
                PlanShare(tier=each.tier, level=each.level, share_of_cost=each.share)
                for each in self._plan.below_cost()
            ],
        )


def _margin_row(row: RowMapping, uncollected: int) -> MarginRow:
    """Return a row of the report; what was charged and not collected is no revenue, and the platform bears it."""
    cost = bounded(row["cost_usd"]) or Decimal(0)
    revenue, absorbed = (
        bounded(Decimal(amount) / MICRO) or Decimal(0)
        for amount in (row["charge_micro_usd"] - uncollected, row["absorbed_micro_usd"] + uncollected)
    )
    return MarginRow(
        tier=None if row["tier"] is None else Tier(row["tier"]),
        level=None if row["level"] is None else PowerLevel(row["level"]),
        attempts=row["attempts"],
        unpriced=row["unpriced"],
        free=row["free"],
        provider_cost_usd=cost,
        revenue_usd=revenue,
        absorbed_usd=absorbed,
        margin_usd=revenue - cost,
    )


def _total(rows: list[MarginRow]) -> MarginRow:
    cost = bounded(sum((row.provider_cost_usd for row in rows), Decimal(0))) or Decimal(0)
    revenue = bounded(sum((row.revenue_usd for row in rows), Decimal(0))) or Decimal(0)
    return MarginRow(
        attempts=sum(row.attempts for row in rows),
        unpriced=sum(row.unpriced for row in rows),
        free=sum(row.free for row in rows),
        provider_cost_usd=cost,
        revenue_usd=revenue,
        absorbed_usd=bounded(sum((row.absorbed_usd for row in rows), Decimal(0))) or Decimal(0),
        margin_usd=revenue - cost,
    )
