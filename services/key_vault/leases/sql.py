"""The SQL of leases, as the driver wants it: `lease_rows` says what it is for."""

from sqlalchemy import ColumnElement, Text, bindparam, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect

from services.key_vault.database.tables import data_keys, event_outbox, key_records, lease_nonces, provider_keys


def _unnested(name: str) -> ColumnElement[str]:
    return func.unnest(bindparam(name, type_=ARRAY(Text)))


def _query(*, locking: bool) -> bytes:
    """A key of an owner, its record in use and the data key of that, as the driver wants the statement."""
    keys, records = provider_keys.c, key_records.c
    query = (
        select(
            provider_keys,
            literal_column(f"CAST({provider_keys.fullname}.xmin AS text)").label("seen"),
            records.data_key_id,
            records.record,
            data_keys.c.tenant.label("data_key_tenant"),
            data_keys.c.wrapped,
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
"""`seen` is the transaction that wrote the row: whoever changes the row changes it."""
WRITE = f"""
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(
            %(keys)s::text[], %(seen)s::text[], %(nonces)s::text[], %(not_after)s::timestamptz[],
            %(message_ids)s::text[], %(payloads)s::bytea[]
        ) WITH ORDINALITY AS asked (key_id, seen, nonce, not_after, message_id, payload, place)
    ), kept AS MATERIALIZED (
        SELECT key_id, CAST(xmin AS text) AS seen FROM {provider_keys.fullname}
        WHERE key_id = ANY (%(keys)s::text[]) FOR SHARE SKIP LOCKED
    ), unchanged AS MATERIALIZED (
        SELECT asked.* FROM asked JOIN kept USING (key_id, seen)
    ), used AS (
        INSERT INTO {lease_nonces.fullname} (nonce, not_after) SELECT nonce, not_after FROM unchanged ORDER BY nonce
        ON CONFLICT DO NOTHING RETURNING nonce
    ), told AS (
        INSERT INTO {event_outbox.fullname} (subject, message_id, payload, counted)
        SELECT %(subject)s, message_id, payload, true FROM unchanged JOIN used USING (nonce) ORDER BY place
    )
    SELECT nonce, used.nonce IS NOT NULL AS fresh FROM unchanged LEFT JOIN used USING (nonce)
""".encode()  # noqa: S608 - the names are those of the vault's own tables
"""A row that somebody has locked is passed over: a batch waits for nobody, so none of it waits, and no two lock each other
out. Nonces are in one order for the same reason."""

LEASE = f"""
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(
            %(owners)s::text[], %(keys)s::text[], %(providers)s::text[], %(origins)s::text[], %(nows)s::timestamptz[],
            %(nonces)s::text[], %(not_after)s::timestamptz[], %(message_ids)s::text[], %(befores)s::bytea[],
            %(afters)s::bytea[]
        ) WITH ORDINALITY AS asked (
            owner, key_id, provider, origin, now, nonce, not_after, message_id, before, after, place
        )
    ), kept AS MATERIALIZED (
        SELECT * FROM {provider_keys.fullname}
        WHERE key_id = ANY (%(keys)s::text[]) AND status = ANY (%(usable)s::text[]) AND NOT over_limit
        FOR SHARE SKIP LOCKED
    ), fitting AS MATERIALIZED (
        SELECT kept.*, asked.nonce, asked.not_after, asked.message_id, asked.before, asked.after, asked.place,
            records.data_key_id, records.record,
            wrapping.tenant AS data_key_tenant, wrapping.wrapped, wrapping.kek
        FROM asked
        JOIN kept ON kept.key_id = asked.key_id AND kept.tenant = asked.owner AND kept.provider = asked.provider
            AND kept.origin = asked.origin AND (kept.expires_at IS NULL OR kept.expires_at > asked.now)
        JOIN {key_records.fullname} AS records ON records.key_id = kept.key_id AND records.version = kept.version
        JOIN {data_keys.fullname} AS wrapping ON wrapping.data_key_id = records.data_key_id
    ), used AS (
        INSERT INTO {lease_nonces.fullname} (nonce, not_after) SELECT nonce, not_after FROM fitting ORDER BY nonce
        ON CONFLICT DO NOTHING RETURNING nonce
    ), told AS (
        INSERT INTO {event_outbox.fullname} (subject, message_id, payload, counted)
        SELECT %(subject)s, message_id, before || convert_to(version::text, 'UTF8') || after, true
        FROM fitting JOIN used USING (nonce) ORDER BY place
    )
    SELECT fitting.*, used.nonce IS NOT NULL AS fresh FROM fitting LEFT JOIN used USING (nonce)
""".encode()  # noqa: S608 - the names are those of the vault's own tables
"""Everything at once, for keys that may be leased as they are. The version that the act names is put in where `before` ends.

A row that was changed since the statement began is judged as it is once it is locked; a record that came with that change the
statement cannot see, and the row is passed over, as one is that somebody has locked or that may not be leased.
"""
