"""How much traffic a tenant had in the last days, by operation, and of which parts of the time a sample is taken. Pure."""

from datetime import datetime, timedelta

from keyferry.contracts.analytics import BucketLength, Dimension, ListSeries, Measure
from keyferry.contracts.analytics_answers import UsageSeries, ValueKind
from keyferry.contracts.past_decisions import PastDecision
from keyferry.contracts.power_comparison import MAX_OPERATIONS
from services.router.power.comparison import REST, Traffic

SPANS = 6
"""Equal parts of the time, of each of which the newest requests are taken."""
_DAY = timedelta(days=1)


def traffic_question(tenant: str, since: datetime, now: datetime) -> ListSeries:
    """Return the question after a tenant's requests of each operation."""
    return ListSeries(
        tenant=tenant,
        since=since,
        until=now,
        bucket=BucketLength.DAY,
        by=Dimension.OPERATION,
        lines=MAX_OPERATIONS,
        sort=Measure.REQUESTS,
    )


def traffic_of(series: UsageSeries, since: datetime, now: datetime) -> Traffic:
    """Return the requests of each operation, and how many days of the time have any."""
    requests: dict[str, int] = {}
    first = now
    for line in series.lines:
        key = REST
        if line.key is not None and line.key.kind in (ValueKind.VALUE, ValueKind.NONE):
            key = line.key.value or ""
        if line.total.requests:
            requests[key] = requests.get(key, 0) + line.total.requests
        starts = (span.start for span, point in zip(series.buckets, line.points, strict=True) if point.requests)
        first = min([first, *starts])
    return Traffic(requests, max((now - max(first, since)) / _DAY, 1.0))


def spans_of(since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    """Return the parts of a time, the oldest first."""
    length = (until - since) / SPANS
    return [(since + number * length, since + (number + 1) * length) for number in range(SPANS)]


def token_of(past: PastDecision) -> tuple[str, str]:
    """Return the tenant and the client token of a request, under which `PastRequests` has its limits."""
    return past.tenant, past.client_token_id or ""
