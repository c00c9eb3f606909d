"""The SQL of figures about all tenants; sources are those of `query_sql`. Pure."""

from services.usage_ledger.analytics.query_sql import SUMS, RollupSource
from services.usage_ledger.analytics.rollup_sql import DAY, MODEL_VALUES, QUARTERS_OF_DAY

_OWN = "key_source IN ('byok', 'custom')"
_QUARTER_SECONDS = 900
_FIRST_ENTRIES = 100
"""A tenant's creation is among the first entries of its chain in the audit log."""


def by_key_source(source: RollupSource) -> str:
    """Select the sums by source of keys, and how many tenants have any."""
    return f"""
    SELECT key_source, count(DISTINCT tenant) AS tenants, {SUMS} FROM ({source.sql}) AS found
    GROUP BY 1 HAVING sum(attempts) > 0"""  # noqa: S608


def tenants(source: RollupSource) -> str:
    """Select the number of tenants with an attempt."""
    return f"SELECT count(DISTINCT tenant) AS tenants FROM ({source.sql}) AS found WHERE attempts > 0"  # noqa: S608


def of_provider(source: RollupSource) -> str:
    """Select what `provider` has of all requests."""
    return f"""
    SELECT count(DISTINCT tenant) AS tenants, sum(requests)::bigint AS requests, sum(attempts)::bigint AS attempts
    FROM ({source.sql}) AS found WHERE provider = :provider"""  # noqa: S608


def by_tier(source: RollupSource) -> str:
    """Select by tier how many tenants and requests there are, and how many with own keys."""
    return f"""
    SELECT tier, count(DISTINCT tenant) AS tenants, count(DISTINCT tenant) FILTER (WHERE {_OWN}) AS own_tenants,
        sum(requests)::bigint AS requests, (sum(requests) FILTER (WHERE {_OWN}))::bigint AS own_requests
    FROM ({source.sql}) AS found WHERE attempts > 0 GROUP BY 1 ORDER BY 1"""  # noqa: S608


def completed_by_model(source: RollupSource) -> str:
    """Select the completed attempts of each model."""
    return f"""
    SELECT model, sum(attempts)::bigint AS attempts FROM ({source.sql}) AS found WHERE outcome = 'completed'
    GROUP BY 1"""  # noqa: S608


def own_failures(source: RollupSource) -> str:
    """Select the failed attempts on own keys by class of error, most first."""
    return f"""
    SELECT error_class, sum(attempts)::bigint AS failed FROM ({source.sql}) AS found
    WHERE outcome = 'failed' AND {_OWN} GROUP BY 1 HAVING sum(attempts) > 0 ORDER BY 2 DESC, 1"""  # noqa: S608


ONBOARDING = f"""
WITH created AS (
    SELECT tenant, min((event ->> 'at')::timestamptz) AS created_at FROM audit_entries
    WHERE position <= {_FIRST_ENTRIES} AND event ->> 'action' = 'tenant.create' AND event ->> 'outcome' = 'done'
    GROUP BY tenant
)
SELECT created_at, key_at, coalesce(attempted_at, to_timestamp(quarter * {_QUARTER_SECONDS}::bigint)) AS request_at
FROM created AS c
LEFT JOIN LATERAL (
    SELECT (event ->> 'at')::timestamptz AS key_at FROM audit_entries AS e
    WHERE e.tenant = c.tenant AND event ->> 'action' = 'key.add' AND event ->> 'outcome' = 'done'
    ORDER BY position LIMIT 1
) AS keys ON true
LEFT JOIN LATERAL (
    SELECT min(bucket) AS day FROM usage_rollups AS r WHERE r.tenant = c.tenant AND grain = {MODEL_VALUES + DAY}
) AS days ON true
LEFT JOIN LATERAL (
    SELECT min(bucket) AS quarter FROM usage_rollups AS r
    WHERE r.tenant = c.tenant AND grain = {MODEL_VALUES} AND bucket >= day AND bucket < day + {QUARTERS_OF_DAY}
) AS quarters ON true
LEFT JOIN LATERAL (
    SELECT min(started_at) AS attempted_at FROM attempts AS a
    WHERE a.tenant = c.tenant AND started_at >= to_timestamp(quarter * {_QUARTER_SECONDS}::bigint)
        AND started_at < to_timestamp((quarter + 1) * {_QUARTER_SECONDS}::bigint)
) AS attempted ON true
WHERE created_at >= :created_since AND created_at < :created_until
"""  # noqa: S608
"""Selects when the tenants of a span were created, added their first key and sent their first request.

An attempt that is no longer kept began in a quarter hour that is: then that one's beginning counts.
"""
