"""Decision records as the table keeps them: compressed with a dictionary of what recurs in them, without what has a column.

The first byte is the number of the dictionary. A dictionary never changes; a better one gets the next number. Pure.
"""

import zlib
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from keyferry.contracts.route import DecisionRecord, DropReason
from services.usage_ledger.decision_dictionary import DICTIONARY_1

_DICTIONARIES: Mapping[int, bytes] = {1: DICTIONARY_1}
_CURRENT = 1
_LEVEL = 6
_RAW = -zlib.MAX_WBITS
_MEMORY_LEVEL = 9
_MAX_BYTES = 64 * 1024 * 1024
"""More than any message on the bus; a limit for what damaged bytes could expand to."""
_WITH_COLUMNS = {"decision_id", "request_id", "tenant", "decided_at"}
_SKIPPED_FIELDS = {"provider", "endpoint", "model", "key_source", "reason"}


class DamagedRecord(ValueError):
    """Bytes that are no packed decision record."""


def compress(record: DecisionRecord) -> bytes:
    """Return the record without the fields that have columns."""
    document = record.model_dump_json(exclude_none=True, exclude=_WITH_COLUMNS).encode()
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW, _MEMORY_LEVEL, zdict=_DICTIONARIES[_CURRENT])
    return bytes((_CURRENT,)) + compressor.compress(document) + compressor.flush()


def decompress(packed: bytes) -> dict[str, object]:
    """Return the fields that are packed. Raises DamagedRecord."""
    dictionary = _DICTIONARIES.get(packed[0]) if packed else None
    if dictionary is None:
        raise DamagedRecord("a decision is packed in a way that this build does not know: it comes from a newer one")
    decompressor = zlib.decompressobj(_RAW, zdict=dictionary)
    try:
        document = orjson.loads(decompressor.decompress(packed[1:], _MAX_BYTES))
    except (zlib.error, orjson.JSONDecodeError):
        raise DamagedRecord("a packed decision is damaged") from None
    if not isinstance(document, dict):
        raise DamagedRecord("a packed decision is damaged")
    return document


def document_of(row: Mapping[str, object]) -> dict[str, object]:
    """Return all fields of a record from its row, whichever build has written it. Raises DamagedRecord."""
    packed, record, decided_at = row["packed"], row["record"], row["decided_at"]
    if isinstance(packed, bytes):
        assert isinstance(decided_at, datetime)
        return decompress(packed) | {
            "decision_id": row["decision_id"],
            "request_id": row["request_id"],
            "tenant": row["tenant"],
            "decided_at": decided_at.astimezone(UTC),
        }
    assert isinstance(record, dict)
    return record


def skipped_of(record: DecisionRecord) -> dict[str, object] | None:
    """Return the candidates that were skipped as unhealthy, which outages are computed from; None if there are none."""
    skipped = [
        candidate.model_dump(include=_SKIPPED_FIELDS, exclude_none=True, mode="json")
        for candidate in record.candidates
        if candidate.reason is DropReason.UNHEALTHY
    ]
    return {"candidates": skipped} if skipped else None
