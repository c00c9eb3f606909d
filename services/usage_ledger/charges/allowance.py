"""The account of a tenant's free requests in a month: when it is funded with how much, and what is said of it. Pure."""

from datetime import UTC, datetime, timedelta

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.accounts import ALLOWANCES
from keyferry.contracts.charges import AllowanceState
from keyferry.contracts.credit import allowance_account
from keyferry.contracts.tenancy import Tier
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose

_EARLY = timedelta(minutes=1)
"""A router whose clock is ahead asks for the next month's account by so much too early, at most."""


def funding_id(account: str) -> str:
    """Return the id of the transfer that funds an account of free requests."""
    return f"fund:{account}"


def fund_allowance(tenant: str, account: str, tier: Tier, plan: BillingPlan, now: datetime) -> Transfer | None:
    """Return the transfer that funds an account on its first use; None if the tenant has no such account.

    Only the current month is funded: an older one that nobody has used is over.
    """
    allowance = plan.allowance(tier)
    current = {allowance_account(tenant, now), allowance_account(tenant, now + _EARLY)}
    if allowance is None or account not in current:
        return None
    return Transfer(
        transfer_id=funding_id(account),
        debit=ALLOWANCES,
        credit=account,
        amount=allowance.requests,
        purpose=TransferPurpose.FUNDING,
    )


def describe_allowance(
    tenant: str, tier: Tier, plan: BillingPlan, now: datetime, *, funded: int | None, available: int, held: int
) -> AllowanceState:
    """Return the state of this month's free requests. `funded` is None as long as none has been used."""
    allowance = plan.allowance(tier)
    if allowance is None:
        # Of a former tier's account nothing is used any more.
        funded, held = None, 0
    requests = funded if funded is not None else allowance.requests if allowance is not None else 0
    left, held = (requests, 0) if funded is None else (max(0, available), max(0, held))
    used = max(0, requests - left - held)
    notice = None
    if allowance is not None and requests and used >= allowance.notice_from:
        rest = (
            "further ones take credits"
            if used >= requests
            else f"{requests - used} are left; then requests take credits"
        )
        notice = f"{used} of {requests} free requests of {now.astimezone(UTC):%B %Y} are used: {rest}"
    return AllowanceState(
        tenant=tenant,
        month=f"{now.astimezone(UTC):%Y-%m}",
        requests=requests,
        used=used,
        held=held,
        left=left,
        resets_at=_next_month(now),
        notice=notice,
    )


def _next_month(now: datetime) -> datetime:
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
