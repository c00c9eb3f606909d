"""The alarm about a worker's lease requests, and its subject: the part of `topology` about leases that people look at.

Import it from here; `topology` adds it to the map of the bus. Pure.
"""

from enum import StrEnum
from typing import Any

from keyferry.contracts.channels import AnySubject, Bucket, Role, Subject, event
from keyferry.contracts.envelope import Message
from keyferry.contracts.text import Count, Explanation, Identifier, Moment


class LeaseAlarmReason(StrEnum):
    """What a worker does that an honest one does not."""

    REFUSALS = "refusals"
    """It asks for keys without a grant of a request that is under way."""
    FURTHER_KEYS = "further_keys"
    """It leases more keys for each request than a fallback needs."""
    LEASES = "leases"
    """It leases more keys than are in use."""


class LeaseAlarm(Message):
    """A worker may have been broken into. At most one each minute for a worker and reason, from each process of the vault."""

    worker: Identifier
    reason: LeaseAlarmReason
    refusals: Count
    """Lease requests within the window that were refused for their grant or certificate."""
    leases: Count
    """Keys that it got within the window."""
    requests: Count
    """The requests that these were for."""
    tenants: Count
    """The tenants of these requests; with REFUSALS, of those that were refused."""
    window_seconds: Count
    detail: Explanation
    """What happened, and what to do."""
    at: Moment


LEASE_ALARMED = event(
    "kf.v1.lease.alarmed.{worker}",
    LeaseAlarm,
    publishers=(Role.KEY_VAULT,),
    stream="CHANGES",
    summary="A worker asks for keys as one does that was broken into.",
)

SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
BUCKETS: tuple[Bucket[Any], ...] = ()
