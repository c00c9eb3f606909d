"""The vault's tables, and the conversion of rows.

`data_keys`, `key_records` and `integration_secret_versions` hold ciphertext, useless without a KEK. Nothing else here is
secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Row,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from keyferry.contracts.integration_secrets import IntegrationSecret
from keyferry.contracts.key import KeyFacts, KeyStatus, ProviderKey
from keyferry.contracts.money import PLACES
from keyferry.runtime.database.event_outbox import event_counter_table, event_outbox_table
from keyferry.runtime.database.outbox import outbox_table

SCHEMA = "key_vault"

metadata = MetaData(schema=SCHEMA)
_Timestamp = DateTime(timezone=True)
_Usd = Numeric(27, PLACES)
provider_keys = Table(
    "provider_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("origin", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("fields", JSONB, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("allowed_models", ARRAY(Text)),
    Column("expires_at", _Timestamp),
    Column("over_limit", Boolean, nullable=False),
    Column("models", ARRAY(Text), nullable=False),
    Column("name", Text),
    Column("team", Text),
    Column("member", Text),
    Column("masked", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("created_at", _Timestamp, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("last_test", JSONB(none_as_null=True)),
    Column("next_test_at", _Timestamp),
    Column("last_used_at", _Timestamp),
    Column("monthly_limit_usd", _Usd),
    Column("spent_usd", _Usd),
    Column("unpriced", BigInteger, nullable=False, server_default=text("0")),
    Column("spend_month", Text),
    Column("revert_until", _Timestamp),
    Column("rotated_at", _Timestamp),
    Column("rotated_by", Text),
    Column("rotation_due", Boolean, nullable=False, server_default=false()),
    Column("credit_low", Boolean, nullable=False, server_default=false()),
    CheckConstraint(f"status IN ({', '.join(repr(s.value) for s in KeyStatus)})", name="provider_keys_status_known"),
    CheckConstraint("fingerprint ~ '^[0-9a-f]{16}$'", name="provider_keys_fingerprint_hex"),
    CheckConstraint("version >= 1", name="provider_keys_version_positive"),
    CheckConstraint("team IS NULL OR member IS NULL", name="provider_keys_one_scope"),
    Index("provider_keys_once", "tenant", "provider", "fingerprint", unique=True),
    Index("provider_keys_by_tenant", "tenant", "priority", "created_at"),
    Index("provider_keys_due", "next_test_at", postgresql_where=text("next_test_at IS NOT NULL")),
    Index("provider_keys_by_age", text("coalesce(rotated_at, created_at)"), postgresql_where=text("NOT rotation_due")),
    Index(
        "provider_keys_by_credit",
        text("((last_test ->> 'credit_left_usd')::numeric)"),
        postgresql_where=text("NOT credit_low"),
    ),
    Index("provider_keys_with_reminder", "key_id", postgresql_where=text("rotation_due OR credit_low")),
)
data_keys = Table(
    "data_keys",
    metadata,
    Column("data_key_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("encrypted_key", LargeBinary, nullable=False),
    Column("kek", Text, nullable=False),
    Column("is_primary", Boolean, nullable=False),
    Column("created_at", _Timestamp, nullable=False, server_default=func.now()),
    Index("data_keys_one_primary", "tenant", unique=True, postgresql_where=text("is_primary")),
    Index("data_keys_by_tenant", "tenant"),
    Index("data_keys_by_kek", "kek", "data_key_id"),
)
kek_ages = Table(
    "kek_ages",
    metadata,
    Column("kek", Text, primary_key=True),
    Column("since", _Timestamp, nullable=False),
    Column("warned_at", _Timestamp),
)
key_records = Table(
    "key_records",
    metadata,
    Column("key_id", Text, ForeignKey(provider_keys.c.key_id, ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("data_key_id", Text, ForeignKey(data_keys.c.data_key_id), nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("rotated_at", _Timestamp),
    Column("rotated_by", Text),
    Index("key_records_by_data_key", "data_key_id"),
)
integration_secrets = Table(
    "integration_secrets",
    metadata,
    Column("secret_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("masked", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", _Timestamp, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("rotated_at", _Timestamp),
    Column("rotated_by", Text),
    Column("previous_until", _Timestamp),
    CheckConstraint("fingerprint ~ '^[0-9a-f]{16}$'", name="integration_secrets_fingerprint_hex"),
    CheckConstraint("version >= 1", name="integration_secrets_version_positive"),
    UniqueConstraint("tenant", "kind", "name", name="integration_secrets_one_name"),
    Index("integration_secrets_expiring", "previous_until", postgresql_where=text("previous_until IS NOT NULL")),
)
integration_secret_versions = Table(
    "integration_secret_versions",
    metadata,
    Column("secret_id", Text, ForeignKey(integration_secrets.c.secret_id, ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("data_key_id", Text, ForeignKey(data_keys.c.data_key_id), nullable=False),
    Column("record", LargeBinary, nullable=False),
    Index("integration_secret_versions_by_data_key", "data_key_id", "secret_id", "version"),
)
integration_secret_leases = Table(
    "integration_secret_leases",
    metadata,
    Column("secret_id", Text, ForeignKey(integration_secrets.c.secret_id, ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("reader", Text, primary_key=True),
    Column("instance_id", Text, primary_key=True),
    Column("leased_at", _Timestamp, nullable=False),
    Index("integration_secret_leases_by_age", "leased_at"),
)
"""Which process has read which version, so that each is audited once."""
workers = Table(
    "workers",
    metadata,
    Column("worker_id", Text, primary_key=True),
    Column("instance_id", Text, primary_key=True),
    Column("registration", JSONB, nullable=False),
    Column("not_after", _Timestamp, nullable=False),
    Column("registered_at", _Timestamp, nullable=False, server_default=func.now()),
)
lease_nonces = Table(
    "lease_nonces",
    metadata,
    Column("nonce", Text, primary_key=True),
    Column("not_after", _Timestamp, nullable=False),
    Index("lease_nonces_by_age", "not_after"),
)
spend = Table(
    "spend",
    metadata,
    Column("key_id", Text, ForeignKey(provider_keys.c.key_id, ondelete="CASCADE"), primary_key=True),
    Column("month", Text, primary_key=True),
    Column("spent_usd", _Usd),
    Column("attempts", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("last_used_at", _Timestamp, nullable=False),
)
audit_sequence = event_counter_table(metadata, "audit_sequence")
platform_fingerprints = Table(
    "platform_fingerprints",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
)
"""Every key that the platform ever had: the next import must not bring back a removed one."""
outbox = outbox_table(metadata)
event_outbox = event_outbox_table(metadata)


@dataclass(frozen=True, slots=True)
class EncryptedRecord:
    """A provider key or an integration secret at rest: the id of its data key, and the ciphertext."""

    data_key_id: str
    record: bytes


@dataclass(frozen=True, slots=True)
class DataKeyRow:
    """An encrypted data key, and the name of the KEK that encrypts it."""

    data_key_id: str
    tenant: str
    encrypted_key: bytes
    kek: str


_KEY_FIELDS = frozenset(ProviderKey.model_fields)
_FACTS_FIELDS = frozenset(KeyFacts.model_fields)


def key_facts(key: ProviderKey) -> KeyFacts:
    """Return what routers and workers may know of a key."""
    facts = key.model_dump(include=set(_FACTS_FIELDS))
    return KeyFacts.model_validate(facts | {"secret_set_at": key.rotated_at or key.created_at})


def provider_key_of(row: Row[tuple[object, ...]]) -> ProviderKey:
    """Return the key in a row of `provider_keys`, its times in UTC whatever the session's time zone is."""
    return key_of_values(cast(Mapping[str, object], row._mapping))


def key_of_values(values: Mapping[str, object]) -> ProviderKey:
    """Return the key in a row's values by column name, ignoring other columns."""
    known = {name: _utc(value) for name, value in values.items() if name in _KEY_FIELDS}
    return ProviderKey.model_validate(known)


def integration_secret_of(row: Row[*tuple[object, ...]]) -> IntegrationSecret:
    """Return the integration secret in a row that has its columns, its times in UTC."""
    known = {name: _utc(value) for name, value in row._mapping.items() if name in IntegrationSecret.model_fields}
    return IntegrationSecret.model_validate(known)


def columns_of(key: ProviderKey) -> dict[str, object]:
    """Return the values of a key's row, except for the month of its spending, which is written separately."""
    values: dict[str, object] = key.model_dump(
        exclude={"last_test", "age_days", "unlisted_models", "paused", "secret_set_at"}
    )
    values["status"] = key.status.value
    values["last_test"] = None if key.last_test is None else key.last_test.model_dump(mode="json")
    return values


def record_of(row: Row[*tuple[object, ...]]) -> EncryptedRecord:
    """Return the record in a row that has `data_key_id` and `record`."""
    found = row._mapping
    return EncryptedRecord(cast(str, found["data_key_id"]), bytes(cast(bytes, found["record"])))


def data_key_of(row: Row[tuple[object, ...]]) -> DataKeyRow:
    """Return the data key in a row of `data_keys`."""
    found = row._mapping
    return DataKeyRow(
        data_key_id=cast(str, found["data_key_id"]),
        tenant=cast(str, found["tenant"]),
        encrypted_key=bytes(cast(bytes, found["encrypted_key"])),
        kek=cast(str, found["kek"]),
    )


def _utc(value: object) -> object:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
