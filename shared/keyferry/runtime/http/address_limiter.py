"""How often a client address may fail to authenticate: a bucket of tokens for each, in bounded memory. Pure."""

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

from keyferry.runtime.http.limits import network_of
from keyferry.runtime.http.problem import HttpProblem

_SECONDS_PER_MINUTE = 60.0


@dataclass(slots=True)
class _Bucket:
    left: float
    at_seconds: float


class AddressLimiter:
    """Counts events by client address: an IPv4 address or an IPv6 /64.

    An address may cause `per_minute` of them at once, and then as many in each minute. The clock is the caller's, monotonic, in
    seconds. At most `addresses` are remembered. When another one comes, the one that was seen least recently is forgotten: who
    has that many addresses is not limited by this, and others' memory is not spent.
    """

    def __init__(self, per_minute: int, *, addresses: int = 10_000) -> None:
        self._per_minute = per_minute
        self._addresses = addresses
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def retry_after_seconds(self, address: str, now_seconds: float) -> int:
        """Return in how many seconds the next event of `address` is allowed, rounded up; 0 if it is now."""
        bucket = self._buckets.get(network_of(address))
        if bucket is None:
            return 0
        missing = 1 - self._refilled(bucket, now_seconds)
        return ceil(missing * _SECONDS_PER_MINUTE / self._per_minute) if missing > 0 else 0

    def count(self, address: str, now_seconds: float) -> None:
        """Count an event of `address`, whether it was allowed or not; an address owes nothing beyond its last allowed event."""
        network = network_of(address)
        bucket = self._buckets.get(network)
        if bucket is None:
            if len(self._buckets) >= self._addresses:
                self._buckets.popitem(last=False)
            bucket = self._buckets[network] = _Bucket(float(self._per_minute), now_seconds)
        else:
            self._buckets.move_to_end(network)
        bucket.left = max(0.0, self._refilled(bucket, now_seconds) - 1)
        bucket.at_seconds = now_seconds

    def take(self, address: str, now_seconds: float) -> None:
        """Count an event of `address`, such as a request for a login. Raises HttpProblem 429 if it has had too many."""
        if seconds := self.retry_after_seconds(address, now_seconds):
            raise too_many_attempts(seconds)
        self.count(address, now_seconds)

    def _refilled(self, bucket: _Bucket, now_seconds: float) -> float:
        passed = max(0.0, now_seconds - bucket.at_seconds)
        return min(float(self._per_minute), bucket.left + passed * self._per_minute / _SECONDS_PER_MINUTE)


def too_many_attempts(retry_after_seconds: int) -> HttpProblem:
    """Return the answer to a client whose address has failed too often."""
    return HttpProblem(
        429,
        "rate_limit_error",
        "too_many_attempts",
        f"too many failed attempts from your address; try again in {retry_after_seconds} s",
        headers={"retry-after": str(retry_after_seconds)},
    )
