"""What the ledger publishes for pages that are open: the part of `topology` about live events.

The stream LIVE keeps these for some minutes, together with copies of changes that other streams have (`live_sources`). The server
gives all of them one sequence and republishes each to `kflive.>` with its number, which is why a stream of events can go on at
any process of the console. Nobody's work depends on them. Import the subjects from here; `topology` adds them to the map of the
bus. Pure.
"""

from datetime import timedelta
from typing import Any

from pydantic import Field

from keyferry.contracts.channels import AnySubject, Bucket, Role, Stream, Subject, event
from keyferry.contracts.credit_management import Credits, CreditState
from keyferry.contracts.envelope import Message
from keyferry.contracts.ids import TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.request_log import LoggedRequest
from keyferry.contracts.text import Count, Moment

MAX_ROWS = 200
"""Requests in one message."""
LIVE = Stream(
    name="LIVE",
    max_age=timedelta(minutes=5),
    max_bytes=64 * 1024**2,
    synced=False,
    drops_oldest=True,
    republished_to="kflive.",
)
"""Its oldest messages make way for new ones."""


class CommittedRequest(Message):
    """A request as the ledger has recorded it just now."""

    complete: bool
    """Whether all its attempts so far are in it; else its tokens, cost and latency are those of the ones that are."""
    request: LoggedRequest


class RequestsRecorded(Message):
    """Requests of a tenant that were committed, in this order."""

    tenant: TenantId
    requests: list[CommittedRequest] = Field(default_factory=list, max_length=MAX_ROWS)
    skipped: Count = 0
    """How many more were committed: above some number a second, they are only counted."""
    at: Moment


class CreditAmounts(Message):
    """What a tenant has in credits after a change."""

    tenant: TenantId
    balance: Credits
    """What it was given and has not spent: `available` and `held` together."""
    available: Credits
    held: Credits
    """Set aside for requests that run or just ran."""
    balance_usd: Usd
    state: CreditState
    as_of: Moment


class DeadLetterCount(Message):
    """How many dead letters there are."""

    count: Count
    at: Moment


REQUESTS_RECORDED = event(
    "kf.v1.request.recorded.{tenant}",
    RequestsRecorded,
    publishers=(Role.USAGE_LEDGER,),
    stream=LIVE.name,
    summary="Requests of a tenant were committed; for pages that show them.",
)
CREDITS_CHANGED = event(
    "kf.v1.credits.changed.{tenant}",
    CreditAmounts,
    publishers=(Role.USAGE_LEDGER,),
    stream=LIVE.name,
    summary="A tenant's credits have changed; for pages that show them.",
)
DEAD_LETTERS_COUNTED = event(
    "kf.v1.dead_letter.counted",
    DeadLetterCount,
    publishers=(Role.USAGE_LEDGER,),
    stream=LIVE.name,
    summary="The number of dead letters has changed; for pages that show it.",
)

SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
BUCKETS: tuple[Bucket[Any], ...] = ()
