"""The subjects by which routers lease credit and people manage the ledger: the part of `topology` about the ledger.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from typing import Any

from keyferry.contracts import budget, credit
from keyferry.contracts.channels import AnySubject, Bucket, Role, Subject, request

_LEDGER = Role.USAGE_LEDGER

CREDIT_LEASE = request(
    "kf.v1.credit.lease.{router}",
    credit.LeaseCredit,
    credit.CreditLease,
    publishers=(Role.ROUTER,),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    fast_path=True,
    summary="A router leases a part of a spendable account, from which it sets shares aside for attempts.",
)
CREDIT_RETURN = request(
    "kf.v1.credit.return.{router}",
    credit.ReturnCredit,
    credit.CreditReturned,
    publishers=(Role.ROUTER,),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    fast_path=True,
    summary="A router gives back what it has not set aside of a lease.",
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""

BUDGETS_VIEW = Bucket(
    name="budgets",
    owner=_LEDGER,
    readers=(Role.ROUTER,),
    message=budget.Budget,
    by_tenant=True,
    summary="Every budget, by `<tenant>.<budget_id>`.",
)
BUCKETS: tuple[Bucket[Any], ...] = (BUDGETS_VIEW,)
