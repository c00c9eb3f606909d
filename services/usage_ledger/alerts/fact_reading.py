"""Reads what alert rules look at besides usage: credits, free requests, budgets, keys, outages and reports."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.budget import BudgetState
from keyferry.contracts.charges import AllowanceState
from keyferry.contracts.credit import credits_account
from keyferry.contracts.credit_management import from_micro_usd
from keyferry.contracts.health import Outage
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.tenancy import DEFAULT_TIME_ZONE, PLATFORM_TENANT, Tenant
from keyferry.contracts.zone import is_zone
from keyferry.runtime.views import KvView
from services.usage_ledger.accounts.credits import DEFAULT_LOW_BELOW_MICRO_USD, RATE_DAYS, estimate_days_left
from services.usage_ledger.accounts.store import read_balances, read_held
from services.usage_ledger.alerts.facts import ReportedCondition, TenantFacts, WatchedCredits
from services.usage_ledger.alerts.tenant_usage import TenantUsage
from services.usage_ledger.budgets.store import BudgetStore
from services.usage_ledger.charges.allowance_store import AllowanceStore
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.outage_store import OutageStore

_LOW_BELOW = text("SELECT tenant, low_below_micro_usd FROM usage_ledger.credit_settings WHERE tenant = ANY(:tenants)")
_SPENT = text("""
SELECT account, day, amount FROM usage_ledger.account_days WHERE account = ANY(:accounts) AND day >= :first
""")
_REPORTS = text("SELECT tenant, metric, subject, text FROM usage_ledger.alert_reports WHERE tenant = ANY(:tenants)")
_LONGEST_OUTAGE = timedelta(days=7)
_OUTAGES_KEPT = timedelta(seconds=5)
"""How long the outages of a tenant are taken for what they were: their figures are counted in the attempts."""
_MOST_OUTAGES = 50
_KEY_TRIES = 20
_KEY_RETRY_SECONDS = 0.05


class TenantKeys:
    """The provider keys of all tenants, as the vault publishes them: its view has the state of every key, not its changes."""

    def __init__(self, view: KvView[KeyFacts], changed: Callable[[str], None]) -> None:
        """Follow the view; `changed` receives the owners whose keys have changed. Call it before the view is started."""
        self._view = view
        self._changed = changed
        self._by_owner: dict[str, Sequence[KeyFacts]] = {}
        view.on_owner_change(self._on_change)

    @property
    def known(self) -> bool:
        """Whether the keys have arrived."""
        return self._view.ready

    def has_all_of(self, tenant: str) -> bool:
        """Return whether a key of the tenant that is not here does not exist."""
        return self._view.current and tenant not in self._view.unreadable_owners

    def of(self, tenant: str) -> Sequence[KeyFacts]:
        """Return the keys of a tenant."""
        return self._by_owner.get(tenant, ())

    def owners(self) -> list[str]:
        """Return the tenants that have keys."""
        return list(self._by_owner)

    def _on_change(self, owner: str, keys: Collection[KeyFacts]) -> None:
        if keys:
            self._by_owner[owner] = tuple(keys)
        else:
            self._by_owner.pop(owner, None)
        self._changed(owner)


@dataclass(frozen=True, slots=True)
class NeededFacts:
    """What the rules of a tenant look at."""

    tenant: str
    allowance: bool = False
    outages: bool = False


class FactReader(TransactionalStore):
    """Reads the facts of tenants, many at once. Every method raises DatabaseUnavailable."""

    def __init__(
        self,
        engine: AsyncEngine,
        budgets: BudgetStore,
        allowances: AllowanceStore,
        outages: OutageStore,
        keys: TenantKeys,
        tenants: KvView[Tenant],
    ) -> None:
        super().__init__(engine)
        self._budgets = budgets
        self._allowances = allowances
        self._outages = outages
        self._keys = keys
        self._tenants = tenants
        self._outages_of: dict[str, tuple[datetime, list[Outage]]] = {}
        self.outages_until: datetime | None = None
        """When figures of outages are to be counted again; None if no outage lasts."""

    async def await_key(self, tenant: str, key_id: str) -> None:
        """Give the copy of the keys a moment to have a key that was just added."""
        for _ in range(_KEY_TRIES):
            if any(key.key_id == key_id for key in self._keys.of(tenant)) or not self._keys.known:
                return
            await asyncio.sleep(_KEY_RETRY_SECONDS)

    def zone_of(self, tenant: str) -> ZoneInfo:
        """Return the time zone in which a tenant's windows begin."""
        found = self._tenants.get(tenant)
        name = DEFAULT_TIME_ZONE if found is None else found.time_zone
        return ZoneInfo(name if is_zone(name) else DEFAULT_TIME_ZONE)

    async def read(
        self, needed: Sequence[NeededFacts], usages: dict[str, TenantUsage], now: datetime
    ) -> dict[str, TenantFacts]:
        """Return the facts of tenants; their usage is given."""
        tenants = [each.tenant for each in needed]
        async with self.snapshot() as connection:
            has_credits = await _read_credits(connection, tenants, now)
            reports = await _read_reports(connection, tenants)
        budgets = await self._read_budgets(tenants, now)
        lasting = await self._read_outages([each.tenant for each in needed if each.outages], now)
        found = {}
        for each in needed:
            found[each.tenant] = TenantFacts(
                zone=self.zone_of(each.tenant),
                credits=has_credits.get(each.tenant),
                allowance=await self._read_allowance(each.tenant, now) if each.allowance else None,
                budgets=budgets.get(each.tenant, ()),
                keys=self._keys.of(each.tenant),
                keys_are_known=self._keys.known,
                keys_are_all=self._keys.has_all_of(each.tenant),
                outages=lasting.get(each.tenant, ()),
                reports=reports.get(each.tenant, ()),
                usage=usages.get(each.tenant) or TenantUsage(),
            )
        return found

    async def _read_budgets(self, tenants: Iterable[str], now: datetime) -> dict[str, list[BudgetState]]:
        found: dict[str, list[BudgetState]] = {}
        for state in await self._budgets.read_states(tenants, now):
            found.setdefault(state.budget.tenant, []).append(state)
        return found

    async def _read_allowance(self, tenant: str, now: datetime) -> AllowanceState | None:
        known = self._tenants.get(tenant)
        return None if known is None else await self._allowances.read(tenant, now)

    async def _read_outages(self, tenants: Sequence[str], now: datetime) -> dict[str, list[Outage]]:
        """Return the outages that last, with their figures; nothing is counted while there is none."""
        self.outages_until = None
        if not tenants:
            return {}
        since = await self._outages.began_of_lasting(now - _LONGEST_OUTAGE, now)
        if since is None:
            self._outages_of.clear()
            return {}
        found = {}
        for tenant in tenants:
            known = self._outages_of.get(tenant)
            if known is None or not timedelta(0) <= now - known[0] < _OUTAGES_KEPT:
                owner = None if tenant == PLATFORM_TENANT else tenant
                outages, _ = await self._outages.list_outages(owner, since, now, _MOST_OUTAGES, now)
                known = self._outages_of[tenant] = now, [each for each in outages if each.ended_at is None]
            found[tenant] = known[1]
        self.outages_until = now + _OUTAGES_KEPT
        return found


async def _read_credits(
    connection: AsyncConnection, tenants: Sequence[str], now: datetime
) -> dict[str, WatchedCredits]:
    accounts = {credits_account(tenant): tenant for tenant in tenants}
    balances = await read_balances(connection, accounts)
    if not balances:
        return {}
    held = await read_held(connection, balances)
    rows = await connection.execute(_LOW_BELOW, {"tenants": list(tenants)})
    low_below: dict[str, int | None] = {row.tenant: row.low_below_micro_usd for row in rows}
    spent: dict[str, dict[date, int]] = {}
    first = now.date() - timedelta(days=RATE_DAYS)
    for row in await connection.execute(_SPENT, {"accounts": list(balances), "first": first}):
        spent.setdefault(row.account, {})[row.day] = row.amount
    found = {}
    for account, posted in balances.items():
        tenant, balance = accounts[account], posted.posted + held.get(account, 0)
        limit = low_below.get(tenant)
        found[tenant] = WatchedCredits(
            balance=from_micro_usd(balance),
            low_below=from_micro_usd(DEFAULT_LOW_BELOW_MICRO_USD if limit is None else limit),
            days_left=estimate_days_left(balance, spent.get(account, {}), now),
        )
    return found


async def _read_reports(connection: AsyncConnection, tenants: Sequence[str]) -> dict[str, list[ReportedCondition]]:
    found: dict[str, list[ReportedCondition]] = {}
    for row in await connection.execute(_REPORTS, {"tenants": list(tenants)}):
        found.setdefault(row.tenant, []).append(ReportedCondition(row.metric, row.subject, row.text))
    return found
