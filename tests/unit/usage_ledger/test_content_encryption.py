"""Content opens for its tenant and attempt only, on the way and at rest, and not at all without the tenant's data key."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.content import CallContent, ContentRecord
from keyferry.contracts.tenancy import ContentPolicy
from keyferry.sealing.content import seal_content
from services.usage_ledger.contents.encryption import ContentEncryption, UnreadableContent

KEY = X25519PrivateKey.generate()
ENCRYPTION = ContentEncryption(KEY)
CONTENT = CallContent(request="a secret question", answer="a secret answer")


def record(sealed: str, tenant: str = "acme", attempt_id: str = "att_1") -> ContentRecord:
    return ContentRecord(
        attempt_id=attempt_id,
        request_id="req_1",
        tenant=tenant,
        policy=ContentPolicy.FULL,
        days=7,
        recorded_at=datetime(2026, 11, 30, tzinfo=UTC),
        sealed=sealed,
    )


def test_sealed_content_opens_for_its_tenant_and_attempt_only() -> None:
    sealed = seal_content(KEY.public_key().public_bytes_raw(), "acme", "att_1", CONTENT.encode())
    assert ENCRYPTION.open(record(sealed)) == CONTENT
    assert "secret" not in sealed
    others = ContentEncryption(X25519PrivateKey.generate())
    for encryption, moved in (
        (ENCRYPTION, record(sealed, tenant="globex")),
        (ENCRYPTION, record(sealed, attempt_id="att_2")),
        (ENCRYPTION, record(f"{sealed[:-8]}AAAAAAAA")),
        (others, record(sealed)),
    ):
        with pytest.raises(UnreadableContent):
            encryption.open(moved)


def test_stored_content_is_bound_to_its_tenant_its_attempt_and_its_data_key() -> None:
    key = ENCRYPTION.new_data_key("acme")
    stored = ENCRYPTION.encrypt(key, "acme", "att_1", CONTENT)
    assert b"secret" not in stored
    assert ENCRYPTION.decrypt(key, "acme", "att_1", stored) == CONTENT
    new = ENCRYPTION.new_data_key("acme")
    for data_key, tenant, attempt_id in ((key, "globex", "att_1"), (key, "acme", "att_2"), (new, "acme", "att_1")):
        with pytest.raises(UnreadableContent):
            ENCRYPTION.decrypt(data_key, tenant, attempt_id, stored)
    with pytest.raises(UnreadableContent, match="does not open with the ledger's content key"):
        ContentEncryption(X25519PrivateKey.generate()).decrypt(key, "acme", "att_1", stored)


def test_the_same_content_never_looks_the_same() -> None:
    key = ENCRYPTION.new_data_key("acme")
    assert len({ENCRYPTION.encrypt(key, "acme", "att_1", CONTENT) for _ in range(10)}) == 10
