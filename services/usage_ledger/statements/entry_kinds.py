"""The kind that each transfer of a tenant's credits has in a statement.

A purpose that is in neither table makes a test fail; until somebody decides on it, statements show it as `other`, and its amount
is in the balance as that of any other transfer. Pure.
"""

from collections.abc import Mapping
from types import MappingProxyType

from keyferry.contracts.accounts import PAYMENTS
from keyferry.contracts.statements import StatementEntryKind
from services.usage_ledger.accounts.transfer import TransferPurpose

_PAYMENTS = {
    "purchase": StatementEntryKind.PURCHASE,
    "refund": StatementEntryKind.REFUND,
    "failed_refund": StatementEntryKind.REFUND,
    "dispute": StatementEntryKind.DISPUTE,
    "dispute_won": StatementEntryKind.DISPUTE,
    "debt_payment": StatementEntryKind.DEBT,
    "forfeit": StatementEntryKind.ADJUSTMENT,
}
"""What was bought, and what happened to it afterwards; a deleted tenant's credits are forfeited."""
ENTRY_KINDS: Mapping[str, StatementEntryKind] = MappingProxyType(
    _PAYMENTS
    | {
        TransferPurpose.GRANT.value: StatementEntryKind.GRANT,
        TransferPurpose.ADJUSTMENT.value: StatementEntryKind.ADJUSTMENT,
        TransferPurpose.SETTLEMENT.value: StatementEntryKind.CHARGE,
        TransferPurpose.RERATING.value: StatementEntryKind.CORRECTION,
    }
)
"""By the purpose of a transfer that changes what a tenant has."""
NOT_ENTRIES = frozenset(
    {
        TransferPurpose.FUNDING.value,
        TransferPurpose.FLOW_BACK.value,
        TransferPurpose.LEASE.value,
        TransferPurpose.RETURN.value,
        TransferPurpose.ABSORBED.value,
        "debt",
    }
)
"""Purposes of transfers that leave what a tenant has as it is: of free requests, budgets, leases, debts and the platform."""


def entry_kind(purpose: str, other: str) -> StatementEntryKind:
    """Return the kind of a transfer between a tenant's credits and the account `other`."""
    if other == PAYMENTS and purpose == TransferPurpose.GRANT:
        return StatementEntryKind.PURCHASE
    return ENTRY_KINDS.get(purpose, StatementEntryKind.OTHER)
