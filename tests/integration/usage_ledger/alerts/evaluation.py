"""The evaluation of rules on a database, without a bus."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.audit import AuditHead
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.billing import load_plan
from services.usage_ledger.alerts.fact_reading import FactReader, TenantKeys
from services.usage_ledger.alerts.watch import AlertWatch
from services.usage_ledger.audit_log import OwnAction
from services.usage_ledger.budgets.store import BudgetStore
from services.usage_ledger.charges.allowance_store import AllowanceStore
from services.usage_ledger.outage_store import OutageStore

PLAN: BillingPlan = load_plan(BUNDLED_PLAN)


class StillView:
    """A view that does not change."""

    ready = True
    current = True
    unreadable_owners: frozenset[str] = frozenset()

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self._entries = dict(entries)

    def get(self, key: str) -> Any:
        return self._entries.get(key)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self._entries.items())

    def on_owner_change(self, listener: Any) -> None:
        owners: dict[str, list[KeyFacts]] = {}
        for key in self._entries.values():
            if isinstance(key, KeyFacts):
                owners.setdefault(key.tenant, []).append(key)
        for owner, keys in owners.items():
            listener(owner, keys)


async def no_audit(connection: AsyncConnection, action: OwnAction) -> AuditHead:
    """Record nothing: these tests are about alerts."""
    return AuditHead(tenant=action.tenant, position=1, digest="-", at=datetime.now(UTC), signature="")


def watch_of(engine: AsyncEngine, tenants: StillView, keys: StillView | None = None) -> AlertWatch:
    """Return what evaluates, as a process has it that has just started."""
    view = cast(Any, tenants)
    of_keys = TenantKeys(cast(Any, keys or StillView({})), lambda owner: None)
    allowances = AllowanceStore(engine, PLAN, view.get, lambda: True)
    facts = FactReader(engine, BudgetStore(engine, no_audit), allowances, OutageStore(engine), of_keys, view)
    return AlertWatch(engine, facts, of_keys, view, lambda: None, partial(datetime.now, UTC))


def known_tenants(*names: str) -> StillView:
    """Return a view with these tenants."""
    return StillView({name: Tenant(tenant=name, name=name, tier="starter") for name in names})
