"""The SQL of partitions. Names of tables and partitions are our own, and bounds consist of letters and digits. Pure."""

from services.usage_ledger.database import SCHEMA
from services.usage_ledger.partitions.months import KEYS, Partition

TAKE_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('usage_ledger partitions', 0))"
"""One process at a time changes partitions; the lock ends with the transaction."""
LIMIT_WAITING = "SET LOCAL lock_timeout = '2s'"
"""While one waits for a lock on a table, all later ones wait behind it: so give up early, and try again later."""

LIST = """
SELECT parent.relname AS parent, child.relname AS name, pg_get_expr(child.relpartbound, child.oid) AS bounds,
       greatest(child.reltuples, 0)::bigint AS about_rows, pg_total_relation_size(child.oid) AS size_bytes
FROM pg_inherits
JOIN pg_class AS parent ON parent.oid = inhparent JOIN pg_namespace AS schema ON schema.oid = parent.relnamespace
JOIN pg_class AS child ON child.oid = inhrelid
WHERE schema.nspname = 'usage_ledger' AND parent.relkind = 'p' AND child.relkind = 'r'
ORDER BY parent.relname, pg_get_expr(child.relpartbound, child.oid) = 'DEFAULT',
         pg_get_expr(child.relpartbound, child.oid) COLLATE "C"
"""
LIST_DETACHED = """
SELECT parent, partition AS name, from_id, until_id, detached_at, dropped_at, greatest(reltuples, 0)::bigint AS about_rows,
       coalesce(pg_total_relation_size(to_regclass('usage_ledger.' || quote_ident(partition))), 0) AS size_bytes
FROM usage_ledger.detached_partitions LEFT JOIN pg_class ON oid = to_regclass('usage_ledger.' || quote_ident(partition))
ORDER BY parent, from_id
"""
RECORD_DETACHED = """
INSERT INTO usage_ledger.detached_partitions (partition, parent, from_id, until_id, detached_at)
VALUES (:partition, :parent, :from_id, :until_id, :now)
"""
DROPPABLE = """
SELECT partition FROM usage_ledger.detached_partitions WHERE dropped_at IS NULL AND detached_at < :before ORDER BY from_id
"""
RECORD_DROPPED = "UPDATE usage_ledger.detached_partitions SET dropped_at = :now WHERE partition = :partition"
KEPT_SINCE = 'SELECT max(until_id COLLATE "C") FROM usage_ledger.detached_partitions WHERE parent = :parent'
COLUMNS = """
SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""


def create(partition: Partition, columns: str) -> list[str]:
    """Return the statements that add a partition, and move rows there that the default partition has taken meanwhile."""
    assert partition.bounds is not None
    table, name, other = (f"{SCHEMA}.{it}" for it in (partition.table, partition.name, f"{partition.table}_other"))
    first, end = partition.bounds.from_id, partition.bounds.until_id
    key = KEYS[partition.table]
    return [
        f"LOCK TABLE {other} IN ACCESS EXCLUSIVE MODE",
        f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)",
        f"""
        WITH moved AS (DELETE FROM {other} WHERE {key} >= '{first}' AND {key} < '{end}' RETURNING {columns})
        INSERT INTO {name} ({columns}) SELECT * FROM moved
        """,  # noqa: S608
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')",
    ]


def detach(partition: Partition) -> str:
    """Return the statement that makes a partition a table of its own."""
    return f"ALTER TABLE {SCHEMA}.{partition.table} DETACH PARTITION {SCHEMA}.{partition.name}"


def drop(name: str) -> str:
    """Return the statement that removes a detached partition with its rows."""
    return f"DROP TABLE IF EXISTS {SCHEMA}.{name}"
