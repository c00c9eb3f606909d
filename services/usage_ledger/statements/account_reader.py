"""Reading what was posted to a tenant's credits, by month."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from keyferry.contracts.credit import credits_account
from keyferry.contracts.statements import (
    MAX_STATEMENT_ENTRIES,
    StatementAccount,
    StatementEntry,
    StatementEntryKind,
)
from services.usage_ledger.analytics.snapshot import RollupSnapshot
from services.usage_ledger.statements import sql
from services.usage_ledger.statements.account_sums import PostedSums
from services.usage_ledger.statements.entry_kinds import entry_kind


async def read_posted(
    snapshot: RollupSnapshot, tenant: str, bounds: Sequence[datetime], now: datetime
) -> list[PostedSums]:
    """Return what was posted before the first of these moments, between each two of them, and after the last."""
    values = {"account": credits_account(tenant), "bounds": list(bounds)}
    found = [PostedSums() for _ in range(len(bounds) + 1)]
    for row in await snapshot.rows_by_index(sql.SUM_ENTRIES, values):
        kind = entry_kind(row["purpose"], row["other"])
        found[row["period"]].add(kind, int(row["transfers"]), int(row["amount"]))
    for row in await snapshot.rows_by_index(sql.SUM_DAYS, values):
        found[row["period"]].add(StatementEntryKind.CHARGE, int(row["transfers"]), int(row["amount"]))
    for number, bound in enumerate(bounds):
        end = _end_of_day(bound)
        if end == bound or bound > now:
            continue
        rest = {"account": values["account"], "bound": bound, "end_of_day": end}
        # Found by time; row-level security would look up the accounts of every transfer of that day.
        (row,) = await snapshot.rows_by_index(sql.SUM_REST_OF_DAY, rest, of_all=True)
        transfers, amount = int(row["transfers"]), int(row["amount"])
        found[number].add(StatementEntryKind.CHARGE, -transfers, -amount)
        found[number + 1].add(StatementEntryKind.CHARGE, transfers, amount)
    return found


async def read_account(
    snapshot: RollupSnapshot, tenant: str, bounds: tuple[datetime, datetime], now: datetime
) -> tuple[StatementAccount, PostedSums]:
    """Return what was posted within these bounds, with the balances before and after, and the sums of it."""
    before, posted, _ = await read_posted(snapshot, tenant, bounds, now)
    span = dict(zip(("since", "until"), bounds, strict=True))
    values = {"account": credits_account(tenant), **span, "most": MAX_STATEMENT_ENTRIES}
    rows = await snapshot.rows_by_index(sql.LIST_ENTRIES, values)
    entries = [_entry(row) for row in rows]
    listed = sum(count for kind, count in posted.transfers.items() if kind is not StatementEntryKind.CHARGE)
    opening = before.total()
    account = StatementAccount(
        opening_micro_usd=opening,
        closing_micro_usd=opening + posted.total(),
        sums=posted.sums(),
        entries=entries,
        entries_left_out=max(listed - len(entries), 0),
    )
    return account, posted


def _entry(row: Mapping[str, object]) -> StatementEntry:
    at = row["recorded_at"]
    assert isinstance(at, datetime)
    return StatementEntry.model_validate(
        {
            "entry_id": row["id"],
            "kind": entry_kind(str(row["purpose"]), str(row["other"])),
            "at": at.astimezone(UTC),
            "amount_micro_usd": row["amount"],
            **{name: row[name] for name in ("reason", "actor", "source", "source_id")},
        }
    )


def _end_of_day(bound: datetime) -> datetime:
    """Return the first midnight of UTC that is not before a moment."""
    day = bound.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day if day == bound else day + timedelta(days=1)
