"""Re-ratings in PostgreSQL: a tenant at a time, each in one transaction with its transfer and its rows.

The rows of attempts stay as they are; what holds now is beside them, and, in the same transaction, in what follows from attempts:
rollups, budgets and the spending of keys. What a re-rating finds is compared with what holds; one that was interrupted goes on
where it stopped when it is repeated with its id.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pydantic_core import to_json
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.accounts import ABSORBED, REVENUE
from keyferry.contracts.charges import MAX_RERATED_TENANTS, RerateAmounts, RerateAttempts, RerateTenant, Rerating
from keyferry.contracts.credit import MICRO, credits_account
from keyferry.contracts.money import bounded
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.accounts.debts import pay_debt
from services.usage_ledger.accounts.store import apply_transfers, lock_accounts
from services.usage_ledger.accounts.transfer import MAX_AMOUNT, UNCOLLECTED, Transfer, TransferPurpose
from services.usage_ledger.analytics.projection import correct_rollups
from services.usage_ledger.attempt_packing import whole_row
from services.usage_ledger.budgets.spending_store import correct_spending, lock_budgets
from services.usage_ledger.charges import sql
from services.usage_ledger.charges.rerating import AttemptRating, Correction, RatedAnew, bear, net_charge, uncollected
from services.usage_ledger.corrections import CORRECTED
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.key_spending_store import KeyMonth, correct_key_spending
from services.usage_ledger.pricing import Prices
from services.usage_ledger.record_batches import assume_utc
from services.usage_ledger.request_log.projection import correct_facets
from services.usage_ledger.store import ledger_row

_PAGE = 2000
"""Attempts in memory at once, besides the corrections of one tenant."""


class RerateStore(TransactionalStore):
    """Re-ratings. Every method raises DatabaseUnavailable."""

    def __init__(
        self,
        engine: AsyncEngine,
        prices: Prices,
        plan: BillingPlan,
        clock: Callable[[], datetime],
        on_key_spending: Callable[[set[KeyMonth]], None] = lambda changed: None,
    ) -> None:
        super().__init__(engine)
        self._on_key_spending = on_key_spending
        self._prices = prices
        self._plan = plan
        self._clock = clock

    async def rerate(self, command: RerateAttempts) -> Rerating:
        """Correct what tenants paid, or say what would be corrected. Guard: the id. Raises Refused if it names another one."""
        command = command.model_copy(update={"since": assume_utc(command.since).astimezone(UTC)})
        until, known = await self._begin(command)
        found: list[RerateTenant] = []
        repeated = known
        for tenant in await self._list_tenants(command, until):
            amounts, was_done = await self._rerate_tenant(command, until, tenant)
            repeated = repeated and was_done
            if amounts.examined:
                found.append(amounts)
        largest = sorted(found, key=lambda each: each.charged_usd + each.refunded_usd + each.absorbed_usd, reverse=True)
        return Rerating(
            rerate_id=command.rerate_id,
            provider=command.provider,
            model=command.model,
            since=command.since,
            until=until,
            dry_run=command.dry_run,
            repeated=repeated,
            plan_version=self._plan.version,
            total=_sum(found),
            tenants=largest[:MAX_RERATED_TENANTS],
        )

    async def _begin(self, command: RerateAttempts) -> tuple[datetime, bool]:
        """Return until when attempts count, and whether this re-rating had been begun before."""
        values = {
            "rerate_id": command.rerate_id,
            "provider": command.provider,
            "model": command.model,
            "since": command.since,
            "until": self._clock(),
            "plan_version": self._plan.version,
            "reason": command.reason,
            "actor": command.actor,
        }
        async with self.transaction() as connection:
            if command.dry_run:
                return self._clock(), False
            added = (await connection.execute(text(sql.ADD_RERATING), values)).rowcount
            row = (await connection.execute(text(sql.RERATING), {"rerate_id": command.rerate_id})).mappings().one()
        if (row["provider"], row["model"], row["since"]) != (command.provider, command.model, command.since):
            raise Refused(
                ErrorCode.CONFLICT, "there is a re-rating of that id for another model or time: give another id"
            )
        if row["plan_version"] != self._plan.version:
            raise Refused(
                ErrorCode.CONFLICT, f"that re-rating was begun by the plan {row['plan_version']}: give another id"
            )
        return row["until"].astimezone(UTC), not added

    async def _list_tenants(self, command: RerateAttempts, until: datetime) -> list[str]:
        async with self.transaction() as connection:
            values = _of_model(command, until) | {"rerate_id": command.rerate_id}
            return list(await connection.scalars(text(sql.TENANTS), values))

    async def _rerate_tenant(self, command: RerateAttempts, until: datetime, tenant: str) -> tuple[RerateTenant, bool]:
        """Correct one tenant's attempts; return the amounts, and whether that had been done before."""
        key = {"rerate_id": command.rerate_id, "tenant": tenant}
        async with self.transaction() as connection:
            await connection.execute(text(sql.LOCK))
            # Before any account: who adds a budget waits for those who record attempts, and they for accounts.
            await lock_budgets(connection, tenant)
            done = None
            if not command.dry_run:
                done = (await connection.execute(text(sql.TENANT), key)).mappings().one_or_none()
            if done is not None:
                return _stored_amounts(done), True
            rated = await self._compare(connection, command, until, tenant)
            account = credits_account(tenant)
            balance = (await lock_accounts(connection, [account])).get(account)
            borne = bear(rated.corrections, 0 if balance is None else balance.available)
            amounts = _amounts(tenant, rated, borne)
            if not command.dry_run:
                await connection.execute(text(sql.ADD_TENANT), key | _values(amounts))
                changed = await self._apply(connection, command, tenant, borne)
        if not command.dry_run:
            self._on_key_spending(changed)
        return amounts, False

    async def _compare(
        self, connection: AsyncConnection, command: RerateAttempts, until: datetime, tenant: str
    ) -> RatedAnew:
        rated, after = RatedAnew(), ""
        while True:
            values = _of_model(command, until) | {"tenant": tenant, "after": after, "most": _PAGE}
            rows = (await connection.execute(text(sql.ATTEMPTS), values)).mappings().all()
            lost = await _read_uncollected(connection, [row["attempt_id"] for row in rows])
            for row in rows:
                stored = ledger_row(row)
                lost_charge = lost.get(stored.record.attempt_id, 0)
                rated.add(stored.record, _rating(whole_row(row)), self._prices, self._plan, lost_charge)
            if len(rows) < _PAGE:
                return rated
            after = rows[-1]["attempt_id"]

    async def _apply(
        self, connection: AsyncConnection, command: RerateAttempts, tenant: str, borne: Sequence[Correction]
    ) -> set[KeyMonth]:
        """Store corrections, and apply them to everything that follows from attempts, in the order in which ingestion does."""
        for start in range(0, len(borne), _PAGE):
            rows = [_correction_values(each) for each in borne[start : start + _PAGE]]
            values = {"rerate_id": command.rerate_id, "tenant": tenant, "rows": to_json(rows).decode()}
            await connection.execute(text(sql.ADD_CORRECTIONS), values)
            await connection.execute(text(sql.CORRECT_ATTEMPTS), values)
        if transfers := _transfers(command, tenant, borne):
            await apply_transfers(connection, transfers, self._clock())
            await pay_debt(connection, tenant, self._clock())
        if not borne:
            return set()
        changed = await correct_key_spending(connection, command.rerate_id, tenant)
        await correct_spending(connection, command.rerate_id, tenant, self._clock())
        await correct_facets(connection, command.rerate_id, tenant)
        await correct_rollups(connection, command.rerate_id, tenant)
        return changed


async def _read_uncollected(connection: AsyncConnection, attempt_ids: Sequence[str]) -> dict[str, int]:
    """Return what was charged for attempts and never collected; a correction has it among what the platform bears."""
    values = {"source": UNCOLLECTED, "ids": list(attempt_ids)}
    return {row.attempt_id: row.amount for row in await connection.execute(text(sql.UNCOLLECTED), values)}


def _transfers(command: RerateAttempts, tenant: str, borne: Sequence[Correction]) -> list[Transfer]:
    """Return what moves: what the tenant pays or gets back, and charges that are none any more, which the platform had paid."""
    net, account = net_charge(borne), credits_account(tenant)
    moves = (
        ("rerate", account if net > 0 else REVENUE, REVENUE if net > 0 else account, abs(net)),
        # As with the charges themselves, absurd records must not keep the others out.
        ("rerate-uncollected", REVENUE, ABSORBED, min(uncollected(borne), MAX_AMOUNT)),
    )
    return [
        Transfer(
            transfer_id=f"{name}:{command.rerate_id}:{tenant}",
            debit=debit,
            credit=credit,
            amount=amount,
            purpose=TransferPurpose.RERATING,
            reason=command.reason,
            actor=command.actor,
        )
        for name, debit, credit, amount in moves
        if amount
    ]


def _of_model(command: RerateAttempts, until: datetime) -> dict[str, object]:
    return {"provider": command.provider, "model": command.model, "since": command.since, "until": until}


def _rating(row: Mapping[str, Any]) -> AttemptRating:
    current = {name: row[f"current_{name}"] for name in CORRECTED}
    return AttemptRating(**current | {"absorbed_micro_usd": current["absorbed_micro_usd"] or 0})


def _correction_values(each: Correction) -> dict[str, object]:
    before = {f"{name}_before": getattr(each.before, name) for name in CORRECTED}
    return {"attempt_id": each.attempt_id, **before, **{name: getattr(each.after, name) for name in CORRECTED}}


def _amounts(tenant: str, rated: RatedAnew, borne: Sequence[Correction]) -> RerateTenant:
    differences = [each.charge_difference for each in borne]
    return RerateTenant(
        tenant=tenant,
        examined=rated.examined,
        corrected=len(borne),
        unknown=rated.unknown,
        cost_difference_usd=_bounded(sum((each.cost_difference_usd for each in borne), Decimal(0))),
        charged_usd=_usd(sum(each for each in differences if each > 0)),
        refunded_usd=_usd(-sum(each for each in differences if each < 0)),
        absorbed_usd=_usd(sum(each.absorbed_difference for each in borne)),
    )


def _values(amounts: RerateTenant) -> dict[str, object]:
    return {
        "examined": amounts.examined,
        "corrected": amounts.corrected,
        "unknown": amounts.unknown,
        "cost_difference_usd": amounts.cost_difference_usd,
        "charged_micro_usd": amounts.charged_usd * MICRO,
        "refunded_micro_usd": amounts.refunded_usd * MICRO,
        "absorbed_micro_usd": amounts.absorbed_usd * MICRO,
    }


def _stored_amounts(row: RowMapping) -> RerateTenant:
    return RerateTenant(
        tenant=row["tenant"],
        examined=row["examined"],
        corrected=row["corrected"],
        unknown=row["unknown"],
        cost_difference_usd=row["cost_difference_usd"],
        charged_usd=row["charged_micro_usd"] / MICRO,
        refunded_usd=row["refunded_micro_usd"] / MICRO,
        absorbed_usd=row["absorbed_micro_usd"] / MICRO,
    )


def _sum(found: Sequence[RerateTenant]) -> RerateAmounts:
    counts = {name: sum(getattr(each, name) for each in found) for name in ("examined", "corrected", "unknown")}
    money = {
        name: _bounded(sum((getattr(each, name) for each in found), Decimal(0)))
        for name in ("cost_difference_usd", "charged_usd", "refunded_usd", "absorbed_usd")
    }
    return RerateAmounts.model_validate(counts | money)


def _usd(micro_usd: int) -> Decimal:
    return _bounded(Decimal(micro_usd) / MICRO)


def _bounded(amount: Decimal) -> Decimal:
    return bounded(amount) or Decimal(0)
