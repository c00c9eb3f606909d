"""Spendable accounts, leases of them to routers, and what an attempt holds of a lease.

Whatever can run out is an account of the ledger: a tenant's credits and a budget's window in micro-dollars (10^-6 US dollars),
the free allowance of a month in requests. A router leases a part of an account, and sets shares of its lease aside for
attempts without asking anybody; the record of the attempt settles them. Pure.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Message
from keyferry.contracts.ids import TenantId
from keyferry.contracts.text import Count, Explanation, Identifier, Mark, Refusing

MICRO = 1_000_000
"""Micro-dollars per dollar."""
LEASE_MS = 60_000
"""How long a lease lasts from the moment the ledger grants it: twice as long as an attempt may wait in a worker."""
SKEW_MS = 200
"""By so much the clocks of a router, a worker and the ledger may differ."""
MAX_HOLDS = 128
"""Most accounts that one attempt may count against: all budgets of a tenant, and its credits."""
MAX_AMOUNT = 10**15
"""More than any account has, in micro-dollars: a billion dollars."""
RETIRED_UNIX_MS = 253_402_300_799_999
"""The watermark of a worker that has stopped with every record stored: the last moment of the year 9999."""

AccountName = Annotated[str, Refusing(200, pattern=r"^[a-z]+(?:/[A-Za-z0-9_.-]+)+$", form="words separated by slashes")]
"""The name of a spendable account: `credits/acme`, `allowance/acme/2026-11`, `budget/bud_…/2026-11-01`."""
Amount = Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT)]
"""An amount in the unit of its account: micro-dollars, or requests."""


def credits_account(tenant: str) -> str:
    """Return the account of a tenant's credits, in micro-dollars."""
    return f"credits/{tenant}"


def allowance_account(tenant: str, now: datetime) -> str:
    """Return the account of a tenant's free requests in the calendar month (UTC) of `now`, which has a time zone."""
    return f"allowance/{tenant}/{now.astimezone(UTC):%Y-%m}"


class Hold(Message):
    """A share of a lease, set aside for one attempt. The attempt can cost its account no more than that."""

    lease_id: Identifier
    account: AccountName
    amount: Amount


class CreditCertificate(Message):
    """The ledger's signature that it leased a part of an account to a router: the vault's proof that somebody pays."""

    account: AccountName
    lease_id: Identifier
    not_after_unix_ms: Count
    """The end of the lease."""
    signature: Mark
    """Ed25519, in base64url, over these fields and the tenant."""


class Reservation(Message):
    """What an attempt may spend: one hold for each account that it counts against."""

    holds: list[Hold] = Field(min_length=1, max_length=MAX_HOLDS)
    not_after_unix_ms: Count
    """The provider may not be called later: the leases have ended by then."""
    certificate: CreditCertificate | None = None
    """Of the lease that pays, for the vault; records are without it."""


class AllowanceUse(Message):
    """How many of a tenant's free requests of the month are used, with those that run."""

    used: Count
    requests: Count


class LeaseCredit(Message):
    """Request a lease of an account: at least `need`, and `want` if the account has plenty left."""

    tenant: TenantId
    account: AccountName
    need: Amount
    """The share of the attempt that waits for it."""
    want: Amount
    """At least `need`: what the router expects to set aside while the lease lasts."""
    epoch: Identifier
    """The router process. A lease is for this process alone, and several with the router's name have leases at the same time."""
    answer_by_unix_ms: Count | None = None
    """Nobody waits for the answer later: a lease granted then would be held for nothing until it ends."""


class LeaseResult(StrEnum):
    """What became of a request for a lease."""

    GRANTED = "granted"
    INSUFFICIENT = "insufficient"
    """The account has less than `need` available."""
    UNKNOWN_ACCOUNT = "unknown_account"
    SUPERSEDED = "superseded"
    """Of a former ledger alone: another process with the router's name has asked later, and only that one gets leases."""


class CreditLease(Message):
    """A lease of a part of an account, or why there is none."""

    result: LeaseResult
    account: AccountName
    lease_id: Identifier | None = None
    amount: Amount = 0
    not_after_unix_ms: Count = 0
    """No attempt with a share of it may begin later, on the ledger's clock."""
    available: Annotated[int, Field(strict=True, ge=-(10**15), le=10**15)] = 0
    """What the account has left that is neither spent nor leased, after this request."""
    held: Amount = 0
    """What is leased of the account and not settled: it may become available again."""
    detail: Explanation | None = None
    certificate: CreditCertificate | None = None
    """For the vault, if the account pays for the platform's keys."""


class ReturnCredit(Message):
    """Give back what a router has not set aside of a lease; it sets nothing more aside of it."""

    tenant: TenantId
    lease_id: Identifier
    amount: Amount
    """All that it has ever given back of this lease, so that a repeated message returns nothing twice."""
    epoch: Identifier


class CreditReturned(Message):
    """What this message gave back: 0 if it came before, or if the lease has ended or is another process's."""

    amount: Amount
