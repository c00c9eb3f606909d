"""Budgets in PostgreSQL. A change, its audit event and its message for the view are committed together."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import bindparam

from keyferry.budgets.windows import account_name, window_at
from keyferry.contracts import ids
from keyferry.contracts.audit import AuditHead
from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.budget import MAX_BUDGETS, Budget, Budgets, BudgetState, ListBudgets, RemoveBudget, SaveBudget
from keyferry.contracts.ledger_management import BUDGETS_VIEW
from keyferry.runtime.database.outbox import enqueue
from services.usage_ledger.accounts.store import read_held
from services.usage_ledger.alerts.causes import mark_tenants
from services.usage_ledger.audit_log import OwnAction
from services.usage_ledger.budgets.funding import level_if_open, lock_budget
from services.usage_ledger.budgets.spending_store import (
    UNCOUNTED,
    add_spending,
    budget_of,
    count_past,
    exclude_recording,
    lock_budgets,
    read_blocks,
    read_budgets,
)
from services.usage_ledger.budgets.state import block_seconds, describe_state
from services.usage_ledger.database import OUTBOX, TransactionalStore
from services.usage_ledger.partitions.store import keep_attached

Record = Callable[[AsyncConnection, OwnAction], Awaitable[AuditHead]]
"""Appends to the audit in the caller's transaction."""

_ADD_UNCOUNTED = text("""
INSERT INTO usage_ledger.budgets
    (budget_id, tenant, scope, value, name, time_window, limit_micro_usd, hard, thresholds, enabled, revision, created_at,
     computable_since)
VALUES (:budget_id, :tenant, :scope, :value, :name, :window, :limit_micro_usd, :hard, :thresholds, :enabled, :revision,
    :created_at, :uncounted)
""").bindparams(bindparam("window", type_=JSONB), bindparam("thresholds", type_=JSONB))
_CHANGE = text("""
UPDATE usage_ledger.budgets SET name = :name, limit_micro_usd = :limit_micro_usd, hard = :hard, thresholds = :thresholds,
    enabled = :enabled, revision = :revision
WHERE budget_id = :budget_id
""").bindparams(bindparam("thresholds", type_=JSONB))
_REMOVE_UNCOUNTED = text("""
UPDATE usage_ledger.budgets SET removed_at = :now
WHERE tenant = :tenant AND computable_since = :uncounted AND removed_at IS NULL
""")
_COUNTED = text("""
UPDATE usage_ledger.budgets
SET computable_since = CASE WHEN scope = 'model' THEN (SELECT packed_from FROM usage_ledger.packing) END
WHERE budget_id = :id
""")
"""Until rows are packed an earlier build may record attempts without the catalog's name of their model."""
_TAKE_SNAPSHOT = text("SELECT 1")
_REMOVE = text("UPDATE usage_ledger.budgets SET removed_at = :now WHERE budget_id = :id")
_ALL = text("SELECT * FROM usage_ledger.budgets WHERE removed_at IS NULL")
_AUDITED = ("name", "limit_micro_usd", "hard", "thresholds", "enabled")
"""What can be changed."""


class UnknownBudget(Exception):
    """The tenant has no such budget."""


class TooManyBudgets(Exception):
    """The tenant has as many budgets as it may."""


class BudgetExists(Exception):
    """The tenant has a budget of this scope and window."""

    def __init__(self, budget_id: str) -> None:
        super().__init__(budget_id)
        self.budget_id = budget_id


class FixedTerms(Exception):
    """The scope and the window of a budget cannot be changed: what was counted would be of something else."""


class BudgetChanged(Exception):
    """Somebody else has changed the budget in the meantime."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"revision {revision}")
        self.revision = revision


class BudgetStore(TransactionalStore):
    """The budgets of all tenants. Every method raises DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine, record: Record) -> None:
        super().__init__(engine)
        self._record = record
        self._adding = asyncio.Lock()
        """Adding a budget takes three connections."""

    async def save(self, command: SaveBudget, now: datetime) -> tuple[BudgetState, AuditHead]:
        """Add or replace a budget; return its state, and the head of the audit to publish.

        Raises UnknownBudget, TooManyBudgets, BudgetExists, FixedTerms and BudgetChanged. Guards: a lock of the tenant's budgets,
        so that they are counted and published in order; a unique index on scope and window; the lock of the budget's row.
        """
        async with self._adding if command.budget_id is None else nullcontext(), self.transaction() as connection:
            await lock_budgets(connection, command.tenant)
            if command.budget_id is None:
                budget = await self._add(connection, command, now)
                action, details = "budget.add", _describe_terms(budget)
            else:
                before, budget = await self._change(connection, command, command.budget_id, now)
                action, details = "budget.change", _describe_change(before, budget)
            await enqueue(connection, OUTBOX, BUDGETS_VIEW.name, view_key(budget), budget.encode())
            state = (await _read_states(connection, [budget], now))[0]
            await mark_tenants(connection, [budget.tenant])
            done = OwnAction(command.actor, action, budget.budget_id, details, budget.tenant)
            return state, await self._record(connection, done)

    async def remove(self, command: RemoveBudget, now: datetime) -> tuple[Budget, AuditHead]:
        """Remove a budget, whose spending and accounts stay. Raises UnknownBudget."""
        async with self.transaction() as connection:
            await lock_budgets(connection, command.tenant)
            budget = await lock_budget(connection, command.tenant, command.budget_id)
            if budget is None:
                raise UnknownBudget
            await connection.execute(_REMOVE, {"id": budget.budget_id, "now": now})
            await enqueue(connection, OUTBOX, BUDGETS_VIEW.name, view_key(budget), None)
            await mark_tenants(connection, [budget.tenant])
            terms = _describe_terms(budget)
            done = OwnAction(command.actor, "budget.remove", budget.budget_id, terms, budget.tenant)
            return budget, await self._record(connection, done)

    async def list_states(self, command: ListBudgets, now: datetime) -> Budgets:
        """Return the budgets of a tenant, or one of them, with their states. Raises UnknownBudget."""
        async with self.snapshot() as connection:
            budgets = (await read_budgets(connection, [command.tenant])).get(command.tenant, [])
            if command.budget_id is not None:
                budgets = [budget for budget in budgets if budget.budget_id == command.budget_id]
                if not budgets:
                    raise UnknownBudget
            states = await _read_states(connection, budgets, now)
        return Budgets(tenant=command.tenant, as_of=now, budgets=states)

    async def read_states(self, tenants: Iterable[str], now: datetime) -> list[BudgetState]:
        """Return the states of the budgets of several tenants."""
        async with self.snapshot() as connection:
            of_tenants = await read_budgets(connection, tenants)
            found = [budget for budgets in of_tenants.values() for budget in budgets]
            return await _read_states(connection, found, now) if found else []

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the entries of the view by bucket name and key."""
        async with self.transaction() as connection:
            rows = (await connection.execute(_ALL)).mappings()
            found = [budget_of(row) for row in rows if row["computable_since"] != UNCOUNTED]
        return {BUDGETS_VIEW.name: {view_key(budget): budget.encode() for budget in found}}

    async def _add(self, connection: AsyncConnection, command: SaveBudget, now: datetime) -> Budget:
        present = (await read_budgets(connection, [command.tenant])).get(command.tenant, [])
        for budget in present:
            if (budget.scope, budget.value, budget.window) == (command.scope, command.value, command.window):
                raise BudgetExists(budget.budget_id)
        if len(present) >= MAX_BUDGETS:
            raise TooManyBudgets
        added = _budget(command, ids.new(ids.BUDGET), 1, now)
        await self._count(connection, added, now)
        return added

    async def _count(self, connection: AsyncConnection, added: Budget, now: datetime) -> None:
        """Count new attempts in a budget from now on, and add what earlier ones spent; only others of the tenant wait for that.

        Guard: the lock of the tenant's budgets. What it finds that is not counted was left by a process that died.
        """
        uncounted = {"tenant": added.tenant, "uncounted": UNCOUNTED, "now": now}
        async with self._engine.connect() as snapshot:
            await snapshot.execution_options(isolation_level="REPEATABLE READ")
            async with self.transaction() as inserting:
                await inserting.execute(_REMOVE_UNCOUNTED, uncounted)
                await inserting.execute(_ADD_UNCOUNTED, _values(added) | uncounted)
                await exclude_recording(inserting)
                await keep_attached(snapshot)
                await snapshot.execute(_TAKE_SNAPSHOT)
            past = await count_past(snapshot, added, now)
        if past:
            await add_spending(connection, past)
        await connection.execute(_COUNTED, {"id": added.budget_id})

    async def _change(
        self, connection: AsyncConnection, command: SaveBudget, budget_id: str, now: datetime
    ) -> tuple[Budget, Budget]:
        before = await lock_budget(connection, command.tenant, budget_id)
        if before is None:
            raise UnknownBudget
        if command.expected_revision not in (None, before.revision):
            raise BudgetChanged(before.revision)
        if (before.scope, before.value, before.window) != (command.scope, command.value, command.window):
            raise FixedTerms
        changed = _budget(command, budget_id, before.revision + 1, before.created_at)
        await connection.execute(_CHANGE, _values(changed))
        await level_if_open(connection, changed, now)
        return before, changed


def view_key(budget: Budget) -> str:
    """Return the key of a budget in the view."""
    return f"{budget.tenant}.{budget.budget_id}"


async def _read_states(connection: AsyncConnection, budgets: list[Budget], now: datetime) -> list[BudgetState]:
    spans = {budget.budget_id: window_at(budget.window, now) for budget in budgets}
    wanted = {budget_id: (span, block_seconds(span, now)) for budget_id, span in spans.items()}
    blocks = await read_blocks(connection, wanted)
    held = await read_held(connection, [account_name(budget_id, span) for budget_id, span in spans.items()])
    return [
        describe_state(
            budget,
            span := spans[budget.budget_id],
            blocks.get(budget.budget_id, []),
            held.get(account_name(budget.budget_id, span), 0),
            now,
        )
        for budget in budgets
    ]


def _budget(command: SaveBudget, budget_id: str, revision: int, created_at: datetime) -> Budget:
    terms = command.model_dump(exclude={"budget_id", "expected_revision", "actor"})
    return Budget.model_validate(terms | {"budget_id": budget_id, "revision": revision, "created_at": created_at})


def _values(budget: Budget) -> dict[str, object]:
    window = budget.window.model_dump(mode="json", exclude_none=True)
    return budget.model_dump() | {"window": window, "scope": budget.scope.value}


def _describe_terms(budget: Budget) -> dict[str, str]:
    window = budget.window
    length = f"{window.calendar} in {window.time_zone}" if window.calendar else f"{window.rolling_hours} hours"
    fixed = {"scope": budget.scope.value, "value": budget.value or "", "window": length}
    return fixed | {name: str(getattr(budget, name)) for name in _AUDITED}


def _describe_change(before: Budget, after: Budget) -> dict[str, str]:
    """Return the values that changed, from what to what."""
    old, new = (each.model_dump(mode="json", include=set(_AUDITED)) for each in (before, after))
    return describe_changes(old, new)
