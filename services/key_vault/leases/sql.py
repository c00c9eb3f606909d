"""SQL statements of the lease store, in the driver's parameter style. See `leases.store`."""

from sqlalchemy import ColumnElement, Text, bindparam, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect

from services.key_vault.database.tables import data_keys, event_outbox, key_records, lease_nonces, provider_keys


def _unnested(name: str) -> ColumnElement[str]:
    return func.unnest(bindparam(name, type_=ARRAY(Text)))


def _query(*, locking: bool) -> bytes:
    """Compile the query for an owner's key, its current record and the record's data key."""
    keys, records = provider_keys.c, key_records.c
    query = (
        select(
            provider_keys,
            literal_column(f"CAST({provider_keys.fullname}.xmin AS text)").label("seen"),
            records.data_key_id,
            records.record,
            data_keys.c.tenant.label("data_key_tenant"),
            data_keys.c.encrypted_key,
            data_keys.c.kek,
        )
        .join(key_records, (records.key_id == keys.key_id) & (records.version == keys.version))
        .join(data_keys, data_keys.c.data_key_id == records.data_key_id)
        .where(tuple_(keys.tenant, keys.key_id).in_(select(_unnested("owners"), _unnested("keys"))))
    )
    if locking:
        query = query.with_for_update(read=True, of=provider_keys)
    dialect = psycopg_dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy declares no types here
    return str(query.compile(dialect=dialect)).encode()


READ, READ_LOCKING = _query(locking=False), _query(locking=True)
"""`seen` is the transaction that wrote the row, which every change of the row changes."""
WRITE = f"""
    WITH requested AS MATERIALIZED (
        SELECT * FROM unnest(
            %(keys)s::text[], %(seen)s::text[], %(nonces)s::text[], %(not_after)s::timestamptz[],
            %(message_ids)s::text[], %(payloads)s::bytea[]
        ) WITH ORDINALITY AS requested (key_id, seen, nonce, not_after, message_id, payload, position)
    ), locked AS MATERIALIZED (
        SELECT key_id, CAST(xmin AS text) AS seen FROM {provider_keys.fullname}
        WHERE key_id = ANY (%(keys)s::text[]) FOR SHARE SKIP LOCKED
    ), unchanged AS MATERIALIZED (
        SELECT requested.* FROM requested JOIN locked USING (key_id, seen)
    ), used AS (
        INSERT INTO {lease_nonces.fullname} (nonce, not_after) SELECT nonce, not_after FROM unchanged ORDER BY nonce
        ON CONFLICT DO NOTHING RETURNING nonce
    ), audited AS (
        INSERT INTO {event_outbox.fullname} (subject, message_id, payload, counted)
        SELECT %(subject)s, message_id, payload, true FROM unchanged JOIN used USING (nonce) ORDER BY position
    )
    SELECT nonce, used.nonce IS NOT NULL AS fresh FROM unchanged LEFT JOIN used USING (nonce)
""".encode()  # noqa: S608 - the names are those of the vault's own tables
"""Locked rows are skipped, so that no lease of a batch waits for another writer and no two batches deadlock. Nonces are
inserted in one order for the same reason."""

LEASE = f"""
    WITH requested AS MATERIALIZED (
        SELECT * FROM unnest(
            %(owners)s::text[], %(keys)s::text[], %(providers)s::text[], %(origins)s::text[], %(nows)s::timestamptz[],
            %(nonces)s::text[], %(not_after)s::timestamptz[], %(message_ids)s::text[], %(befores)s::bytea[],
            %(afters)s::bytea[]
        ) WITH ORDINALITY AS requested (
            owner, key_id, provider, origin, now, nonce, not_after, message_id, before, after, position
        )
    ), locked AS MATERIALIZED (
        SELECT * FROM {provider_keys.fullname}
        WHERE key_id = ANY (%(keys)s::text[]) AND status = ANY (%(usable)s::text[]) AND NOT over_limit
        FOR SHARE SKIP LOCKED
    ), accepted AS MATERIALIZED (
        SELECT locked.*, requested.nonce, requested.not_after, requested.message_id, requested.before, requested.after,
            requested.position,
            records.data_key_id, records.record,
            data_key.tenant AS data_key_tenant, data_key.encrypted_key, data_key.kek
        FROM requested
        JOIN locked ON locked.key_id = requested.key_id AND locked.tenant = requested.owner
            AND locked.provider = requested.provider
            AND locked.origin = requested.origin AND (locked.expires_at IS NULL OR locked.expires_at > requested.now)
        JOIN {key_records.fullname} AS records ON records.key_id = locked.key_id AND records.version = locked.version
        JOIN {data_keys.fullname} AS data_key ON data_key.data_key_id = records.data_key_id
    ), used AS (
        INSERT INTO {lease_nonces.fullname} (nonce, not_after) SELECT nonce, not_after FROM accepted ORDER BY nonce
        ON CONFLICT DO NOTHING RETURNING nonce
    ), audited AS (
        INSERT INTO {event_outbox.fullname} (subject, message_id, payload, counted)
        SELECT %(subject)s, message_id, before || convert_to(version::text, 'UTF8') || after, true
        FROM accepted JOIN used USING (nonce) ORDER BY position
    )
    SELECT accepted.*, used.nonce IS NOT NULL AS fresh FROM accepted LEFT JOIN used USING (nonce)
""".encode()  # noqa: S608 - the names are those of the vault's own tables
"""The fast path in one statement, for keys that may be leased as they are. The act's key version is inserted after `before`.

A row that changed since the statement began is checked in its locked version. The statement cannot see a record that came with
that change, so the row is skipped, like a locked row or a key that may not be leased.
"""
