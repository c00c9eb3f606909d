"""Records at rest decrypt only unchanged and in place; the same attacks succeed on weaker records."""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.key_vault.encryption.record_cipher import (
    OVERHEAD_BYTES,
    RecordContext,
    Undecryptable,
    decrypt_record,
    encrypt_record,
    new_data_key,
)

CONTEXT = RecordContext(
    deployment="dep_1",
    tenant="acme",
    provider="openai",
    key_id="key_1",
    version=3,
    origin="https://api.openai.com",
    data_key_id="dek_1",
)
PLAINTEXT = b"sk-proj-0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FORGERIES = 100_000
WRONG_KEYS = 10_000

Decrypt = Callable[[bytes, RecordContext, bytes], bytes]


@dataclass(frozen=True)
class Scheme:
    """A way to encrypt and decrypt records; the weaker ones prove that the attacks work."""

    encrypt: Callable[[bytes, RecordContext, bytes], bytes]
    decrypt: Decrypt


OURS = Scheme(encrypt_record, decrypt_record)


def _without_additional_data() -> Scheme:
    """The same format, bound to nothing."""
    nowhere = replace(CONTEXT, tenant="", provider="", key_id="", version=0, origin="", data_key_id="", deployment="")
    return Scheme(
        lambda data_key, _, plaintext: encrypt_record(data_key, nowhere, plaintext),
        lambda data_key, _, record: decrypt_record(data_key, nowhere, record),
    )


def _joined_without_lengths() -> Scheme:
    """The context's parts joined without saying where each one ends."""

    def additional_data(context: RecordContext) -> bytes:
        return "".join(str(getattr(context, part.name)) for part in fields(context)).encode()

    def weak_encrypt(data_key: bytes, context: RecordContext, plaintext: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + AESGCM(data_key).encrypt(nonce, plaintext, additional_data(context))

    def weak_decrypt(data_key: bytes, context: RecordContext, record: bytes) -> bytes:
        try:
            return AESGCM(data_key).decrypt(record[:12], record[12:], additional_data(context))
        except InvalidTag:
            raise Undecryptable("weak") from None

    return Scheme(weak_encrypt, weak_decrypt)


def accepted(scheme: Scheme, forgeries: Iterator[tuple[RecordContext, bytes]], data_key: bytes) -> tuple[int, int]:
    """How many forgeries open, and how many there were."""
    opened = tried = 0
    for context, record in forgeries:
        tried += 1
        try:
            scheme.decrypt(data_key, context, record)
        except Undecryptable:
            continue
        opened += 1
    return opened, tried


def other_contexts(random_: random.Random) -> Iterator[RecordContext]:
    """Contexts that differ from CONTEXT in one part: other text, an added or a lost character, a changed one."""
    while True:
        name = random_.choice([part.name for part in fields(CONTEXT)])
        value = getattr(CONTEXT, name)
        if isinstance(value, int):
            yield replace(CONTEXT, version=random_.choice([value + 1, value - 1, random_.randrange(4, 2**31)]))
            continue
        at = random_.randrange(len(value))
        changed = random_.choice(
            [value[:at] + value[at + 1 :], value[:at] + "x" + value[at:], value[:at] + "~" + value[at + 1 :]]
        )
        yield replace(CONTEXT, **{name: changed})


def shifted_boundaries() -> Iterator[RecordContext]:
    """Contexts that read the same as CONTEXT when their parts are joined: each part's end moved into the next one."""
    names = [part.name for part in fields(CONTEXT) if part.name != "version"]
    for left, right in (("deployment", "tenant"), ("tenant", "provider"), ("provider", "key_id")):
        assert {left, right} <= set(names)
        text = getattr(CONTEXT, left) + getattr(CONTEXT, right)
        for at in range(len(text) + 1):
            moved = replace(CONTEXT, **{left: text[:at], right: text[at:]})
            if moved != CONTEXT:
                yield moved


def changed_records(random_: random.Random, record: bytes) -> Iterator[bytes]:
    """Every single flipped bit, every truncation, then random damage without end."""
    for at in range(len(record)):
        for bit in range(8):
            yield record[:at] + bytes([record[at] ^ 1 << bit]) + record[at + 1 :]
        yield record[:at]
    while True:
        at, length = random_.randrange(len(record)), random_.randrange(1, 33)
        damaged = record[:at] + random_.randbytes(length) + record[at + length :]
        if damaged != record:
            yield damaged


def forgeries_of(record: bytes, count: int, seed: int) -> Iterator[tuple[RecordContext, bytes]]:
    """`count` forgeries of a record: boundary shifts, then changed contexts and changed records by turns."""
    random_ = random.Random(seed)
    contexts, records = other_contexts(random_), changed_records(random_, record)
    shifted = list(shifted_boundaries())
    for context in shifted:
        yield context, record
    for number in range(count - len(shifted)):
        yield (next(contexts), record) if number % 2 else (CONTEXT, next(records))


def test_record_round_trip() -> None:
    data_key = new_data_key()
    for length in (0, 1, 15, 16, 17, 500, 30_000):
        plaintext = os.urandom(length)
        record = encrypt_record(data_key, CONTEXT, plaintext)
        assert len(record) == length + OVERHEAD_BYTES
        assert decrypt_record(data_key, CONTEXT, record) == plaintext


def test_record_matches_its_documented_format() -> None:
    record = encrypt_record(new_data_key(), CONTEXT, PLAINTEXT)
    assert OVERHEAD_BYTES == 93
    assert record[0] == 1
    assert PLAINTEXT not in record


RECORD_OF_AN_EARLIER_BUILD = bytes.fromhex(
    "0198ce1211fc7a1fd772f63bbd82eb7c3c8f3d88be3fb0e280627c9e8f85cafc59abc028e1cf9dc19a5d1f78f1c5f907461f"
    "e9629302834c1abd815aa3d803487bef18991ca853dc499f6a5567c028032562fec1cb78148399b9ebdc63ecf8994c32157c"
    "2a7c58eeb08a0d977a0a9b"
)


def test_a_stored_record_decrypts_under_every_later_build() -> None:
    """Whatever goes into the derivation or the additional data never changes: stored keys would be lost."""
    assert decrypt_record(bytes(range(32)), CONTEXT, RECORD_OF_AN_EARLIER_BUILD) == b"sk-proj-0123456789"


def test_equal_keys_give_different_records() -> None:
    data_key = new_data_key()
    records = [encrypt_record(data_key, CONTEXT, PLAINTEXT) for _ in range(1000)]
    assert len({record[1:33] for record in records}) == 1000
    assert len({record[65:77] for record in records}) == 1000


def test_none_of_a_hundred_thousand_forgeries_decrypts() -> None:
    data_key = new_data_key()
    record = encrypt_record(data_key, CONTEXT, PLAINTEXT)
    assert accepted(OURS, forgeries_of(record, FORGERIES, seed=1), data_key) == (0, FORGERIES)


def test_forgeries_succeed_without_additional_data() -> None:
    data_key, weak = new_data_key(), _without_additional_data()
    record = weak.encrypt(data_key, CONTEXT, PLAINTEXT)
    opened, tried = accepted(weak, forgeries_of(record, 2_000, seed=2), data_key)
    assert opened > tried * 0.45, "every changed context would have been accepted"


def test_moved_boundaries_succeed_without_length_prefixes() -> None:
    data_key, weak = new_data_key(), _joined_without_lengths()
    moved = [(context, weak.encrypt(data_key, CONTEXT, PLAINTEXT)) for context in shifted_boundaries()]
    assert accepted(weak, iter(moved), data_key) == (len(moved), len(moved))
    ours = [(context, encrypt_record(data_key, CONTEXT, PLAINTEXT)) for context in shifted_boundaries()]
    assert accepted(OURS, iter(ours), data_key) == (0, len(ours))


ELSEWHERE = {
    "deployment": replace(CONTEXT, deployment="elsewhere"),
    "tenant": replace(CONTEXT, tenant="elsewhere"),
    "provider": replace(CONTEXT, provider="elsewhere"),
    "key_id": replace(CONTEXT, key_id="elsewhere"),
    "version": replace(CONTEXT, version=4),
    "origin": replace(CONTEXT, origin="elsewhere"),
    "data_key_id": replace(CONTEXT, data_key_id="elsewhere"),
}


@pytest.mark.parametrize("name", [part.name for part in fields(RecordContext)])
def test_each_part_of_the_context_is_bound(name: str) -> None:
    data_key = new_data_key()
    record = encrypt_record(data_key, CONTEXT, PLAINTEXT)
    with pytest.raises(Undecryptable, match="belongs to another key, tenant, provider or origin"):
        decrypt_record(data_key, ELSEWHERE[name], record)


def wrong_keys_rejected_before_decryption(
    scheme: Scheme, monkeypatch: pytest.MonkeyPatch, record: bytes, count: int
) -> int:
    """How many of `count` wrong data keys are refused without any ciphertext being decrypted."""
    decryptions = 0

    class Counted:
        """AES-GCM that records decryptions."""

        def __init__(self, key: bytes) -> None:
            self._real = AESGCM(key)

        def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
            nonlocal decryptions
            decryptions += 1
            return self._real.decrypt(nonce, data, associated_data)

    monkeypatch.setattr("services.key_vault.encryption.record_cipher.AESGCM", Counted)
    refused = 0
    for _ in range(count):
        before = decryptions
        try:
            scheme.decrypt(new_data_key(), CONTEXT, record)
        except Undecryptable:
            refused += decryptions == before
    return refused


def test_wrong_data_keys_fail_before_decryption(monkeypatch: pytest.MonkeyPatch) -> None:
    record = encrypt_record(new_data_key(), CONTEXT, PLAINTEXT)
    assert wrong_keys_rejected_before_decryption(OURS, monkeypatch, record, WRONG_KEYS) == WRONG_KEYS


def test_wrong_data_keys_reach_decryption_without_the_commitment(monkeypatch: pytest.MonkeyPatch) -> None:
    record = encrypt_record(new_data_key(), CONTEXT, PLAINTEXT)
    monkeypatch.setattr("services.key_vault.encryption.record_cipher.hmac.compare_digest", lambda *_: True)
    assert wrong_keys_rejected_before_decryption(OURS, monkeypatch, record, 100) == 0


def test_changed_commitment_is_rejected_under_the_right_data_key() -> None:
    data_key = new_data_key()
    record = encrypt_record(data_key, CONTEXT, PLAINTEXT)
    for at in range(33, 65):
        with pytest.raises(Undecryptable, match="another data key"):
            decrypt_record(data_key, CONTEXT, record[:at] + bytes([record[at] ^ 0x80]) + record[at + 1 :])


@pytest.mark.parametrize("record", [b"", b"\x01", b"\x02" + bytes(200), bytes(200), b"\x01" + bytes(91)])
def test_malformed_record_is_rejected(record: bytes) -> None:
    with pytest.raises(Undecryptable, match="cut off, or of a format"):
        decrypt_record(new_data_key(), CONTEXT, record)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_data_key_of_wrong_length_is_rejected(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        encrypt_record(bytes(length), CONTEXT, PLAINTEXT)


def test_no_error_repeats_the_plaintext() -> None:
    data_key = new_data_key()
    record = encrypt_record(data_key, CONTEXT, PLAINTEXT)
    for damaged in (record[:-1], record[:40] + bytes([record[40] ^ 1]) + record[41:], record[:20]):
        with pytest.raises(Undecryptable) as caught:
            decrypt_record(data_key, CONTEXT, damaged)
        assert PLAINTEXT.decode() not in str(caught.value)
        assert caught.value.__cause__ is None
