"""A record decrypts only under a data key of its own tenant, also where everything else fits."""

from typing import cast

import pytest

from services.key_vault.database.tables import EncryptedRecord
from services.key_vault.encryption.data_keys import DataKey, DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.record_cipher import RecordContext, Undecryptable, encrypt_record, new_data_key
from tests.unit.key_vault.keys.stored_keys import key

DEPLOYMENT = "dep_test"
SECRET = b"sk-proj-0123456789"


def test_a_data_key_of_another_tenant_is_refused() -> None:
    encryption = EnvelopeEncryption(cast(DataKeys, None), DEPLOYMENT, bytes(32))
    material, one = new_data_key(), key()
    context = RecordContext(DEPLOYMENT, one.tenant, one.provider, one.key_id, one.version, one.origin, "dk_1")
    record = EncryptedRecord("dk_1", encrypt_record(material, context, SECRET))
    with pytest.raises(Undecryptable, match="under a data key of another tenant"):
        encryption.decrypt_with(DataKey("dk_1", "globex", material), one, record)
    opened = encryption.decrypt_with(DataKey("dk_1", one.tenant, material), one, record)
    assert opened.reveal().encode() == SECRET
