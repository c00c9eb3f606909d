"""The SQL of changes of health and of outages. Pure."""

INSERT = """
INSERT INTO usage_ledger.health_changes (
    change_id, target_key, provider, model, origin, key_class, tenant, endpoint, key_id,
    state, reason, failure_class, forced, holds_until, changed_at, recorded_at
)
SELECT change_id, target_key, provider, model, origin, key_class, tenant, endpoint, key_id,
       state, reason, failure_class, forced, holds_until, changed_at, recorded_at
FROM json_to_recordset(CAST(:rows AS json)) AS incoming (
    change_id text, target_key text, provider text, model text, origin text, key_class text, tenant text, endpoint text,
    key_id text, state text, reason text, failure_class text, forced boolean, holds_until timestamptz,
    changed_at timestamptz, recorded_at timestamptz
)
ORDER BY change_id
ON CONFLICT (change_id) DO NOTHING
RETURNING change_id
"""
"""In the order of the ids, so that two processes that insert the same rows do not deadlock."""

PURGE = """
DELETE FROM usage_ledger.health_changes
WHERE changed_at < :before OR (key_id IS NOT NULL AND changed_at < :keys_before)
"""

CHANGES = """
WITH inside AS (
    SELECT * FROM usage_ledger.health_changes
    WHERE key_id IS NULL AND changed_at < :until AND changed_at >= :since
      AND (CAST(:tenant AS text) IS NULL OR tenant IS NULL OR tenant = CAST(:tenant AS text))
    ORDER BY changed_at DESC LIMIT :limit
), before AS (
    -- What was out when the span began. A circuit that is open for longer changes at least every hour.
    SELECT * FROM usage_ledger.health_changes
    WHERE key_id IS NULL AND changed_at < :since AND changed_at >= CAST(:since AS timestamptz) - interval '8 days'
      AND (CAST(:tenant AS text) IS NULL OR tenant IS NULL OR tenant = CAST(:tenant AS text))
    ORDER BY changed_at DESC LIMIT :limit
), after AS (
    -- When what was out at the end of the span was closed.
    SELECT * FROM usage_ledger.health_changes
    WHERE key_id IS NULL AND changed_at >= :until
      AND (CAST(:tenant AS text) IS NULL OR tenant IS NULL OR tenant = CAST(:tenant AS text))
    ORDER BY changed_at LIMIT :limit
)
SELECT * FROM inside UNION ALL SELECT * FROM before UNION ALL SELECT * FROM after
"""

CALLED_MODELS = """
SELECT model FROM unnest(CAST(:models AS text[])) AS asked (model)
WHERE EXISTS (
    SELECT 1 FROM usage_ledger.attempts
    WHERE tenant = :tenant AND provider = :provider AND attempts.model = asked.model
      AND started_at >= :since AND started_at < :ended
)
"""
"""Those of these models that a tenant has called."""

_SAME_TARGET = """provider = :provider AND model = ANY(:models) AND key_source = ANY(:sources)
      AND origin IS NOT DISTINCT FROM CAST(:origin AS text) AND endpoint IS NOT DISTINCT FROM CAST(:endpoint AS text)"""
_VISIBLE = """(CAST(:owner AS text) IS NULL OR tenant = CAST(:owner AS text))
      AND (CAST(:tenant AS text) IS NULL OR tenant = CAST(:tenant AS text))"""

_COUNTS = """
WITH failed AS (
    SELECT tenant, request_id FROM usage_ledger.attempts
    WHERE outcome = 'failed' AND @SAME_TARGET
      AND @VISIBLE
      AND failure_class = ANY(:failures)
      AND started_at >= :earliest AND started_at < :ended
      AND started_at + latency_ms * interval '1 millisecond' >= :from
), skipped AS (
    SELECT DISTINCT tenant, request_id FROM usage_ledger.decisions
    WHERE decided_at >= :began AND decided_at < :ended
      AND @VISIBLE
      AND coalesce(skipped, record) @> ANY(CAST(:skipped AS jsonb[]))
), affected AS (
    SELECT tenant, request_id FROM failed UNION SELECT tenant, request_id FROM skipped
), served AS (
    SELECT DISTINCT ON (tenant, request_id) tenant, request_id, provider, endpoint, model,
           (@SAME_TARGET) AS same_target
    FROM usage_ledger.attempts JOIN affected USING (tenant, request_id)
    WHERE outcome = 'completed'
    ORDER BY tenant, request_id, attempt_number DESC
), refused AS (
    SELECT DISTINCT tenant, request_id
    FROM usage_ledger.decisions JOIN affected USING (tenant, request_id)
    WHERE substr(decisions.request_id, 5, 6) || substr(decisions.request_id, 28, 2)
            = substr(affected.request_id, 5, 6) || substr(affected.request_id, 28, 2)
      AND coalesce(refused, record ? 'refusal')
      AND NOT EXISTS (
          SELECT 1 FROM served WHERE (served.tenant, served.request_id) = (decisions.tenant, decisions.request_id)
      )
), rerouted AS (
    SELECT provider, endpoint, model, count(*) AS requests FROM served WHERE NOT same_target
    GROUP BY provider, endpoint, model ORDER BY requests DESC, provider, endpoint, model
)
SELECT
    (SELECT count(*) FROM failed) AS failed_attempts,
    (SELECT count(*) FROM affected) AS affected_requests,
    (SELECT count(*) FROM served WHERE NOT same_target) AS served_elsewhere,
    (SELECT count(*) FROM refused) AS refused,
    (SELECT json_agg(rerouted) FROM rerouted) AS rerouted_to
"""
COUNTS = _COUNTS.replace("@SAME_TARGET", _SAME_TARGET).replace("@VISIBLE", _VISIBLE)
"""What an outage did to requests."""
