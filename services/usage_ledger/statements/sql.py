"""The SQL of monthly statements. Pure."""

from services.usage_ledger.corrections import JOIN_CORRECTED

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('keyferry statements of ' || :tenant, 0))"
"""Months of a tenant are added one after the other: each begins where the one before ends."""
MONTHS = "SELECT month, tz, since, until FROM usage_ledger.statement_months WHERE tenant = :tenant ORDER BY month"
ADD_MONTHS = """
INSERT INTO usage_ledger.statement_months (tenant, month, tz, since, until, closed_at)
SELECT :tenant, month, tz, since, until, :now
FROM json_to_recordset(CAST(:rows AS json)) AS added (month date, tz text, since timestamptz, until timestamptz)
"""
LAST_MONTHS = "SELECT tenant, max(until) AS until FROM usage_ledger.statement_months GROUP BY tenant"
FIRST_TRANSFER = """
SELECT recorded_at FROM usage_ledger.transfers
WHERE credit = :account AND debit LIKE 'platform/%' ORDER BY sequence LIMIT 1
"""

_ENTRIES = """
    SELECT id, purpose, debit AS other, amount, recorded_at, sequence, reason, actor, source, source_id
    FROM usage_ledger.transfers
    WHERE credit = :account AND debit LIKE 'platform/%' AND phase IN ('posted', 'post')
    UNION ALL
    SELECT id, purpose, credit, -amount, recorded_at, sequence, reason, actor, source, source_id
    FROM usage_ledger.transfers
    WHERE debit = :account AND credit LIKE 'platform/%' AND debit NOT LIKE 'lease/%' AND phase IN ('posted', 'post')
"""
"""The transfers of a tenant's credits that are no charges, negative where they took something."""
SUM_ENTRIES = f"""
SELECT width_bucket(recorded_at, CAST(:bounds AS timestamptz[])) AS period, purpose, other,
    count(*) AS transfers, sum(amount) AS amount
FROM ({_ENTRIES}) AS entries GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""  # noqa: S608 - of constants of this file
LIST_ENTRIES = f"""
SELECT * FROM ({_ENTRIES}) AS entries WHERE recorded_at >= :since AND recorded_at < :until
ORDER BY recorded_at, sequence LIMIT :most
"""  # noqa: S608
SUM_DAYS = """
SELECT width_bucket(day::timestamp AT TIME ZONE 'UTC', CAST(:bounds AS timestamptz[])) AS period,
    sum(transfers) AS transfers, -sum(amount) AS amount
FROM usage_ledger.account_days WHERE account = :account GROUP BY 1
"""
"""Charges by day of UTC: a day in which a month ends is wholly in that month. `SUM_REST_OF_DAY` has what belongs to the next."""
SUM_REST_OF_DAY = """
SELECT count(*) AS transfers, -coalesce(sum(charged.amount), 0) AS amount
FROM usage_ledger.transfers AS charged JOIN usage_ledger.accounts AS lease ON lease.name = charged.debit
WHERE charged.recorded_at >= :bound AND charged.recorded_at < :end_of_day AND charged.phase IN ('posted', 'post')
    AND charged.credit LIKE 'platform/%' AND lease.parent = :account
"""

_MONTH = "attempts.tenant = :tenant AND attempts.started_at >= :since AND attempts.started_at < :until"
BEGUN = f"""
SELECT count(*) FILTER (WHERE attempts.charge_micro_usd > 0 AND NOT recorded) AS other_attempts,
    coalesce(sum(attempts.charge_micro_usd) FILTER (WHERE NOT recorded), 0) AS other_amount,
    count(*) FILTER (WHERE rerated <> 0) AS rerated_attempts,
    coalesce(sum(rerated), 0) AS rerated_amount
FROM (
    SELECT attempts.charge_micro_usd,
        attempts.recorded_at >= :since AND attempts.recorded_at < :until AS recorded,
        coalesce(corrected.charge_micro_usd, attempts.charge_micro_usd, 0) - coalesce(attempts.charge_micro_usd, 0) AS rerated
    FROM usage_ledger.attempts {JOIN_CORRECTED}
    WHERE {_MONTH}
) AS attempts
"""  # noqa: S608 - of constants of this file
"""Of the attempts that began in a month: charges that were recorded in another, and what re-ratings changed."""
BEGUN_BEFORE = """
SELECT count(*) FILTER (WHERE charge_micro_usd > 0) AS attempts, coalesce(sum(charge_micro_usd), 0) AS amount
FROM usage_ledger.attempts
WHERE tenant = :tenant AND recorded_at >= :since AND recorded_at < :until AND (started_at < :since OR started_at >= :until)
"""
UNCOLLECTED_CHARGES = """
SELECT count(*) AS attempts, coalesce(sum(missed.amount), 0) AS amount
FROM usage_ledger.transfers AS missed JOIN usage_ledger.attempts ON attempts.attempt_id = missed.source_id
WHERE missed.source = :source AND missed.recorded_at >= :since AND missed.recorded_at < :until AND attempts.tenant = :tenant
"""
