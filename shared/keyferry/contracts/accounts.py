"""The ledger's chart of accounts: their kinds, the platform's own accounts, and the unit in which each is kept.

A name begins with its kind: `credits/acme` and `budget/bud_1/2026-11-01` are kept in micro-dollars, `allowance/acme/2026-11`
in requests, and `lease/…` in the unit of the account that was leased. Accounts of the platform are the other side of all of
them, so that the sum of all accounts is always zero. Pure.
"""

from enum import StrEnum


class Unit(StrEnum):
    """In what an account is counted."""

    MICRO_USD = "micro_usd"
    REQUESTS = "requests"


class AccountKind(StrEnum):
    """The first part of an account's name."""

    CREDITS = "credits"
    """What a tenant has paid or was given."""
    ALLOWANCE = "allowance"
    """The free requests of a tenant in one month."""
    BUDGET = "budget"
    """What may be spent in one window of a budget."""
    LEASE = "lease"
    """What one router may spend of one of the accounts above."""
    DEBT = "debt"
    """What refunds and disputes could not take back of a tenant's credits; later credits pay it first."""
    PLATFORM = "platform"
    """The other side; the only kind that may be overdrawn."""


SPENDABLE = frozenset({AccountKind.CREDITS, AccountKind.ALLOWANCE, AccountKind.BUDGET})
"""Kinds of accounts that routers lease."""

GRANTED = "platform/granted"
"""Credits given by an operator."""
ADJUSTMENTS = "platform/adjustments"
"""Corrections of tenants' credits by an operator."""
PAYMENTS = "platform/payments"
"""Credits that were paid for."""
REVENUE = "platform/revenue"
"""Credits that requests have used."""
ABSORBED = "platform/absorbed"
"""What requests have used beyond what could be taken."""
ALLOWANCES = "platform/allowance"
"""Free requests given and used, in requests."""
DEBTS = "platform/debts"
"""The other side of what tenants owe."""
FORFEITED = "platform/forfeited"
"""Credits that were left when their tenant was deleted."""
BUDGETS = "platform/budgets"
"""Budgets' windows funded and used."""


def budget_account(budget_id: str, window_start: str) -> str:
    """Return the account of one window of a budget, in micro-dollars."""
    return f"{AccountKind.BUDGET}/{budget_id}/{window_start}"


def debt_account(tenant: str) -> str:
    """Return the account of what a tenant owes, in micro-dollars."""
    return f"{AccountKind.DEBT}/{tenant}"


def lease_account(lease_id: str) -> str:
    """Return the account of a lease, in the unit of what was leased."""
    return f"{AccountKind.LEASE}/{lease_id}"


def kind_of(account: str) -> AccountKind:
    """Return the kind of an account. Raises ValueError for any other name."""
    return AccountKind(account.partition("/")[0])


def unit_of(account: str) -> Unit | None:
    """Return the unit of an account; None for a lease, which has the unit of what it was leased of. Raises ValueError."""
    kind = kind_of(account)
    if kind is AccountKind.LEASE:
        return None
    return Unit.REQUESTS if kind is AccountKind.ALLOWANCE or account == ALLOWANCES else Unit.MICRO_USD
