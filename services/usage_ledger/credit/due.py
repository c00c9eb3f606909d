"""What attempts cost the accounts that they hold shares of, by the kind of account. Pure."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from keyferry.contracts.accounts import AccountKind
from keyferry.contracts.usage import LedgerRow, Outcome
from services.usage_ledger.credit.rules import DueHold


@dataclass(frozen=True, slots=True)
class AttemptHold:
    """One hold of one attempt."""

    attempt_id: str
    tenant: str
    account: str
    hold: DueHold


def due_amount(row: LedgerRow, account: str) -> int:
    """Return what an attempt costs an account, in its unit; 0 if that is not known: the tenant does not pay for it."""
    match account.partition("/")[0]:
        case AccountKind.CREDITS:
            return row.charge_micro_usd or 0
        case AccountKind.BUDGET:
            return row.spend_micro_usd or 0
        case AccountKind.ALLOWANCE:
            return int(row.record.outcome is Outcome.COMPLETED or row.record.token_usage.total > 0)
        case _:
            return 0


def holds_by_lease(rows: Iterable[LedgerRow]) -> dict[str, list[AttemptHold]]:
    """Return the holds of attempts by their leases. What an attempt costs an account is split over its holds of it, in order."""
    found: dict[str, list[AttemptHold]] = {}
    for row in rows:
        reservation = row.record.reservation
        if reservation is None:
            continue
        due = {hold.account: due_amount(row, hold.account) for hold in reservation.holds}
        last = {hold.account: number for number, hold in enumerate(reservation.holds)}
        for number, hold in enumerate(reservation.holds):
            part = due[hold.account] if last[hold.account] == number else min(due[hold.account], hold.amount)
            due[hold.account] -= part
            found.setdefault(hold.lease_id, []).append(
                AttemptHold(row.record.attempt_id, row.record.tenant, hold.account, DueHold(hold.amount, part))
            )
    return found


def transfer_id(purpose: str, lease_id: str, attempt_ids: Iterable[str]) -> str:
    """Return the id of a transfer that follows from attempts, each of which is new to the ledger once: from the first of them."""
    digest = hashlib.sha256(f"{lease_id}\n{min(attempt_ids)}".encode()).hexdigest()
    return f"{purpose}:{digest[:40]}"
