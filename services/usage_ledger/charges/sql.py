"""The SQL of the margin and of re-ratings. Pure."""

MARGIN = """
WITH latest AS (
    SELECT DISTINCT ON (attempt_id) attempt_id, cost_usd, charge_micro_usd, absorbed_micro_usd
    FROM usage_ledger.rerated_attempts ORDER BY attempt_id, sequence DESC
)
SELECT attempts.tier, attempts.charged_level AS level, count(*) AS attempts,
       count(*) FILTER (WHERE COALESCE(latest.cost_usd, attempts.cost_usd) IS NULL) AS unpriced,
       count(*) FILTER (
           WHERE jsonb_path_exists(attempts.reservation, '$.holds[*] ? (@.account starts with "allowance/")')
       ) AS free,
       COALESCE(sum(COALESCE(latest.cost_usd, attempts.cost_usd))
           FILTER (WHERE attempts.key_source = 'platform'), 0) AS cost_usd,
       COALESCE(sum(COALESCE(latest.charge_micro_usd, attempts.charge_micro_usd)), 0) AS charge_micro_usd,
       COALESCE(sum(COALESCE(latest.absorbed_micro_usd, attempts.absorbed_micro_usd)), 0) AS absorbed_micro_usd
FROM usage_ledger.attempts LEFT JOIN latest ON latest.attempt_id = attempts.attempt_id
WHERE attempts.started_at >= :since AND attempts.started_at < :until AND attempts.key_source <> 'none'
GROUP BY 1, 2 ORDER BY 1, 2
"""

UNCOLLECTED = """
SELECT source_id AS attempt_id, amount FROM usage_ledger.transfers
WHERE source = :source AND source_id = ANY(:ids)
    AND NOT EXISTS (SELECT FROM usage_ledger.rerated_attempts earlier WHERE earlier.attempt_id = source_id)
"""
UNCOLLECTED_SHARES = """
SELECT attempts.tier, attempts.charged_level AS level, sum(transfers.amount) AS amount
FROM usage_ledger.transfers JOIN usage_ledger.attempts ON attempts.attempt_id = transfers.source_id
WHERE transfers.source = :source AND attempts.started_at >= :since AND attempts.started_at < :until
    AND NOT EXISTS (SELECT FROM usage_ledger.rerated_attempts earlier WHERE earlier.attempt_id = transfers.source_id)
GROUP BY 1, 2
"""

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('keyferry re-rating', 0))"
"""Re-ratings wait for each other: each has to see what the one before has corrected."""

ADD_RERATING = """
INSERT INTO usage_ledger.reratings (rerate_id, provider, model, since, until, plan_version, reason, actor)
VALUES (:rerate_id, :provider, :model, :since, :until, :plan_version, :reason, :actor)
ON CONFLICT (rerate_id) DO NOTHING
"""
RERATING = "SELECT * FROM usage_ledger.reratings WHERE rerate_id = :rerate_id"

TENANTS = """
SELECT tenant FROM usage_ledger.attempts
WHERE provider = :provider AND (model = :model OR model_served = :model) AND started_at >= :since AND started_at < :until
UNION SELECT tenant FROM usage_ledger.rerated_tenants WHERE rerate_id = :rerate_id
ORDER BY tenant
"""
ATTEMPTS = """
SELECT attempts.*, latest.sequence AS rerated, latest.cost_usd AS rerated_cost_usd,
       latest.price_version AS rerated_price_version, latest.plan_version AS rerated_plan_version,
       latest.charge_micro_usd AS rerated_charge_micro_usd, latest.absorbed_micro_usd AS rerated_absorbed_micro_usd
FROM (
    SELECT * FROM usage_ledger.attempts
    WHERE tenant = :tenant AND attempt_id > :after
        AND provider = :provider AND (model = :model OR model_served = :model) AND started_at >= :since AND started_at < :until
    ORDER BY attempt_id LIMIT :most
) attempts
LEFT JOIN LATERAL (
    SELECT * FROM usage_ledger.rerated_attempts earlier
    WHERE earlier.attempt_id = attempts.attempt_id ORDER BY sequence DESC LIMIT 1
) latest ON true
ORDER BY attempts.attempt_id
"""
TENANT = "SELECT * FROM usage_ledger.rerated_tenants WHERE rerate_id = :rerate_id AND tenant = :tenant"
ADD_TENANT = """
INSERT INTO usage_ledger.rerated_tenants
    (rerate_id, tenant, examined, corrected, unknown, cost_difference_usd, charged_micro_usd, refunded_micro_usd,
     absorbed_micro_usd)
VALUES (:rerate_id, :tenant, :examined, :corrected, :unknown, :cost_difference_usd, :charged_micro_usd,
        :refunded_micro_usd, :absorbed_micro_usd)
"""
ADD_CORRECTIONS = """
INSERT INTO usage_ledger.rerated_attempts
    (rerate_id, tenant, attempt_id, cost_usd_before, cost_usd, price_version_before, price_version, plan_version_before,
     plan_version, charge_micro_usd_before, charge_micro_usd, absorbed_micro_usd_before, absorbed_micro_usd)
SELECT :rerate_id, :tenant, attempt_id, cost_usd_before, cost_usd, price_version_before, price_version, plan_version_before,
       plan_version, charge_micro_usd_before, charge_micro_usd, absorbed_micro_usd_before, absorbed_micro_usd
FROM json_to_recordset(CAST(:rows AS json)) AS added (
    attempt_id text, cost_usd_before numeric, cost_usd numeric, price_version_before text, price_version text,
    plan_version_before text, plan_version text, charge_micro_usd_before bigint, charge_micro_usd bigint,
    absorbed_micro_usd_before bigint, absorbed_micro_usd bigint)
ORDER BY attempt_id
"""
