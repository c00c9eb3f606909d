"""What a worker counts of the keys that its attempts need."""

from keyferry.runtime.metrics import buckets
from keyferry.runtime.metrics.registry import BoundedHistogram

CACHED, LEASED, REFUSED, UNAVAILABLE = "cached", "leased", "refused", "unavailable"

KEY_LEASES = BoundedHistogram(
    "keyferry_key_lease_duration_seconds",
    "How long attempts waited for their key: cached here, leased from the vault, refused by it, or not to be had.",
    ("result",),
    buckets=buckets.SHORT,
)
