"""What attempts add to which budgets, windows and hours.

An attempt counts in a budget that it matches, and in one that it has a hold of. It counts in the window of its hold, so that a
window's account and its spending agree; without one, in the window in which it began. Clocks that are ahead do not move it into
the future: no attempt begins after it is recorded. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from keyferry.budgets.matching import Spender, TenantBudgets, WindowedBudget, model_names
from keyferry.budgets.windows import WindowSpan, hour_of, parse_account, window_of_label
from keyferry.contracts.usage import AttemptRecord, LedgerRow

ROLLING_START = datetime(1970, 1, 1, tzinfo=UTC)
"""In the table, the window to which all hours of a rolling budget belong."""


@dataclass(frozen=True, slots=True, order=True)
class SpendingKey:
    """One row of the table."""

    budget_id: str
    window_start: datetime
    hour: datetime


@dataclass(slots=True)
class CountedSpending:
    """What attempts add to one row."""

    spent_micro_usd: int = 0
    attempts: int = 0
    unpriced: int = 0


def count(rows: Iterable[LedgerRow], budgets: Mapping[str, TenantBudgets]) -> dict[SpendingKey, CountedSpending]:
    """Return what attempts add to the budgets of their tenants, by row of the table."""
    added: dict[SpendingKey, CountedSpending] = {}
    for row in rows:
        of_tenant = budgets.get(row.record.tenant)
        if of_tenant is None:
            continue
        began = min(row.record.started_at, row.recorded_at)
        for budget_id, window_start in _windows(row.record, of_tenant, began).items():
            key = SpendingKey(budget_id, window_start, hour_of(began))
            found = added.setdefault(key, CountedSpending())
            found.attempts += 1
            found.spent_micro_usd += row.spend_micro_usd or 0
            found.unpriced += row.spend_micro_usd is None
    return added


def table_window(span: WindowSpan) -> datetime:
    """Return the window that rows of the table have which belong to this one."""
    return ROLLING_START if span.end is None else span.start


def describe_spender(record: AttemptRecord) -> Spender:
    """Return what is known of an attempt that was made."""
    return Spender(
        team=record.team,
        member=record.member,
        client_token_id=record.client_token_id,
        key_id=record.key_id,
        models=model_names(record.provider, record.model, record.catalog_id),
    )


def _windows(record: AttemptRecord, budgets: TenantBudgets, began: datetime) -> dict[str, datetime]:
    """Return the windows in the table in which an attempt counts, by budget."""
    held = _held_windows(record)
    found: dict[str, datetime] = {}
    for each in (*budgets.applying_to(describe_spender(record)), *_named(budgets, held)):
        budget = each.budget
        span = window_of_label(budget.window, held.get(budget.budget_id, ""))
        found[budget.budget_id] = table_window(span or each.span_at(began))
    return found


def _held_windows(record: AttemptRecord) -> dict[str, str]:
    """Return the labels of the windows of which an attempt has holds, by budget."""
    if record.reservation is None:
        return {}
    parsed = (parse_account(hold.account) for hold in record.reservation.holds)
    return dict(found for found in parsed if found is not None)


def _named(budgets: TenantBudgets, held: Mapping[str, str]) -> Sequence[WindowedBudget]:
    return [found for budget_id in held if (found := budgets.find(budget_id)) is not None]
