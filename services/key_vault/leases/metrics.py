"""What the vault counts: leases, and how long they take."""

from keyferry.runtime.metrics import buckets
from keyferry.runtime.metrics.registry import BoundedCounter, BoundedHistogram

GRANTED, REFUSED, UNAVAILABLE = "granted", "refused", "unavailable"

LEASES = BoundedCounter(
    "keyferry_vault_leases_total",
    "Requests for a key: granted, refused, or not decided since the database did not answer.",
    ("result",),
    preset=[(GRANTED,), (REFUSED,), (UNAVAILABLE,)],
)
LEASE_DURATION = BoundedHistogram(
    "keyferry_vault_lease_duration_seconds", "Time until the vault answered a request for a key.", buckets=buckets.SHORT
)
