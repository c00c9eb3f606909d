"""The SQL of the margin and of re-ratings. Pure."""

from services.usage_ledger.attempt_packing import ALLOWANCE, FLAGS_BYTE
from services.usage_ledger.corrections import CORRECTED, JOIN_CORRECTED, current

MARGIN = f"""
SELECT attempts.tier, attempts.charged_level AS level, count(*) AS attempts,
       count(*) FILTER (WHERE {current("cost_usd")} IS NULL) AS unpriced,
       count(*) FILTER (
           WHERE get_byte(attempts.packed, {FLAGS_BYTE}) & {ALLOWANCE} <> 0
               OR jsonb_path_exists(attempts.reservation, '$.holds[*] ? (@.account starts with "allowance/")')
       ) AS free,
       COALESCE(sum({current("cost_usd")}) FILTER (WHERE attempts.key_source = 'platform'), 0) AS cost_usd,
       COALESCE(sum({current("charge_micro_usd")}), 0) AS charge_micro_usd,
       COALESCE(sum({current("absorbed_micro_usd")}), 0) AS absorbed_micro_usd
FROM usage_ledger.attempts {JOIN_CORRECTED}
WHERE attempts.started_at >= :since AND attempts.started_at < :until AND attempts.key_source <> 'none'
GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608 - names of columns

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
ATTEMPTS = f"""
SELECT attempts.*, {", ".join(f"{current(name)} AS current_{name}" for name in CORRECTED)}
FROM (
    SELECT * FROM usage_ledger.attempts
    WHERE tenant = :tenant AND attempt_id > :after
        AND provider = :provider AND (model = :model OR model_served = :model) AND started_at >= :since AND started_at < :until
    ORDER BY attempt_id LIMIT :most
) attempts {JOIN_CORRECTED}
ORDER BY attempts.attempt_id
"""  # noqa: S608 - names of columns
TENANT = "SELECT * FROM usage_ledger.rerated_tenants WHERE rerate_id = :rerate_id AND tenant = :tenant"
ADD_TENANT = """
INSERT INTO usage_ledger.rerated_tenants
    (rerate_id, tenant, examined, corrected, unknown, cost_difference_usd, charged_micro_usd, refunded_micro_usd,
     absorbed_micro_usd)
VALUES (:rerate_id, :tenant, :examined, :corrected, :unknown, :cost_difference_usd, :charged_micro_usd,
        :refunded_micro_usd, :absorbed_micro_usd)
"""
_BEFORE = [f"{name}_before" for name in CORRECTED]
_NAMES = ", ".join(["attempt_id", *_BEFORE, *CORRECTED])
_TYPES = {"cost_usd": "numeric", "price_version": "text", "pricing": "text", "plan_version": "text"}
_TYPED = ", ".join(f"{name} {_TYPES.get(name.removesuffix('_before'), 'bigint')}" for name in (*_BEFORE, *CORRECTED))
_ROWS = f"json_to_recordset(CAST(:rows AS json)) AS added (attempt_id text, {_TYPED})"
_SET = ", ".join(f"{name} = excluded.{name}" for name in ("rerate_id", *CORRECTED))
ADD_CORRECTIONS = f"""
INSERT INTO usage_ledger.rerated_attempts (rerate_id, tenant, {_NAMES})
SELECT :rerate_id, :tenant, {_NAMES} FROM {_ROWS} ORDER BY attempt_id
"""  # noqa: S608 - names of columns
CORRECT_ATTEMPTS = f"""
INSERT INTO usage_ledger.corrected_attempts (attempt_id, tenant, rerate_id, {", ".join(CORRECTED)})
SELECT attempt_id, :tenant, :rerate_id, {", ".join(CORRECTED)} FROM {_ROWS} ORDER BY attempt_id
ON CONFLICT (attempt_id) DO UPDATE SET {_SET}
"""  # noqa: S608 - names of columns
"""What holds from now on; what was before is in the other table."""
