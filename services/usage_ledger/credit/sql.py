"""The SQL of leases and of watermarks."""

from sqlalchemy import text

ADD_LEASE = text("""
INSERT INTO usage_ledger.credit_leases (lease_id, tenant, account, router, epoch, amount, not_after_ms, granted_at)
VALUES (:lease_id, :tenant, :account, :router, :epoch, :amount, :not_after_ms, :now)
""")
LOCK_LEASES = text("""
SELECT lease_id, tenant, account, router, epoch, amount, given_back, settled, state FROM usage_ledger.credit_leases
WHERE lease_id = ANY(:ids) ORDER BY lease_id FOR NO KEY UPDATE
""")
LOCK_ENDED = text("""
SELECT lease_id, tenant, account, router, epoch, amount, given_back, settled, state FROM usage_ledger.credit_leases
WHERE state = 'open' AND not_after_ms < :until_ms ORDER BY lease_id LIMIT :most FOR NO KEY UPDATE SKIP LOCKED
""")
UPDATE_LEASES = text("""
UPDATE usage_ledger.credit_leases leases
SET given_back = changed.given_back, settled = changed.settled, state = changed.state,
    closed_at = CASE WHEN changed.state = 'open' THEN NULL ELSE CAST(:now AS timestamptz) END
FROM unnest(CAST(:ids AS text[]), CAST(:given_back AS bigint[]), CAST(:settled AS bigint[]), CAST(:states AS text[]))
    AS changed (lease_id, given_back, settled, state)
WHERE leases.lease_id = changed.lease_id
""")
REMOVE_CLOSED = text("""
DELETE FROM usage_ledger.credit_leases WHERE lease_id IN (
    SELECT lease_id FROM usage_ledger.credit_leases WHERE state <> 'open' AND closed_at < :before LIMIT :most)
""")
ADD_WATERMARKS = text("""
INSERT INTO usage_ledger.credit_watermarks (worker, spool_id, position, settled_until_ms, seen_at)
SELECT worker, spool_id, position, settled_until_ms, :now
FROM unnest(CAST(:workers AS text[]), CAST(:spools AS text[]), CAST(:positions AS bigint[]), CAST(:settled AS bigint[]))
    AS reported (worker, spool_id, position, settled_until_ms)
ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING
""")
WATERMARKS = text("SELECT worker, spool_id, position, settled_until_ms, seen_at FROM usage_ledger.credit_watermarks")
REMOVE_PASSED = text("""
DELETE FROM usage_ledger.credit_watermarks older USING usage_ledger.credit_watermarks newer
WHERE older.worker = newer.worker AND older.spool_id = newer.spool_id
    AND older.position < newer.position AND newer.position <= :processed
""")
REMOVE_RETIRED = text("""
DELETE FROM usage_ledger.credit_watermarks retired
WHERE settled_until_ms = :retired_ms AND seen_at < :before AND position <= :processed
    AND NOT EXISTS (
        SELECT FROM usage_ledger.credit_watermarks newer
        WHERE newer.worker = retired.worker AND newer.spool_id = retired.spool_id AND newer.position > retired.position)
""")
REMOVE_WORKER = text("""
DELETE FROM usage_ledger.credit_watermarks WHERE worker = :worker AND spool_id = ANY(:spools)
""")
STRANDED = text("""
SELECT account, count(*) AS leases, sum(amount - given_back - settled) AS amount FROM usage_ledger.credit_leases
WHERE state = 'open' AND not_after_ms < :ended_before_ms GROUP BY account ORDER BY 3 DESC, 1 LIMIT :most
""")
ELECT = text("SELECT pg_try_advisory_xact_lock(:key)")
