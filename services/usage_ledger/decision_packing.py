"""Decision records as the table keeps them: compressed with a dictionary of what recurs in them, without what has a column.

The first byte is the number of the form. In form 2 ids and the trace, which no compression makes smaller, are taken out of the
text as bytes. A form with its dictionary never changes; a better one gets the next number. Pure.
"""

import base64
import re
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import orjson

from keyferry.contracts.route import DecisionRecord, DropReason
from services.usage_ledger.decision_dictionary import DICTIONARY_1

_LEVEL = 6
_RAW = -zlib.MAX_WBITS
_RAW_2 = -14
"""As much as the dictionary of form 2 is."""
_MEMORY_LEVEL = 9
_MEMORY_LEVEL_2 = 5
"""A compressor of this size is copied in a third of the time that it takes to read the dictionary again."""
_MAX_BYTES = 64 * 1024 * 1024
"""More than any message on the bus; a limit for what damaged bytes could expand to."""
_WITH_COLUMNS = {"decision_id", "request_id", "tenant", "decided_at"}
_SKIPPED_FIELDS = {"provider", "endpoint", "model", "key_source", "reason"}

_NEW_ID, _KNOWN_ID, _ID_OF_THE_TIME = b"\x01", b"\x02", b"\x03"
"""What replaces the digits of an id: the next of the ids; one that came before, of which the number follows; the next of the ids,
which was made in the same millisecond as that of the decision. No JSON has control characters."""
_FEATURES_1 = b'"images":false,"audio":false,"code":false'
_FEATURES_2 = b'"images":false,"image_count":0,"image_tokens":0,"audio":false,"priority":false,"code":false'
_DICTIONARY_2 = (
    DICTIONARY_1.replace(b"06h2d3j8i", _NEW_ID)
    .replace(b',"traceparent":"00--01"', b"")
    .replace(_FEATURES_1, _FEATURES_2)
)
_COMPRESSOR_2 = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_2, _MEMORY_LEVEL_2, zdict=_DICTIONARY_2)
_ID = re.compile(rb"_([0-9a-v]{25}[048cgkos])(?![0-9a-v])")
"""The digits of an id: they hold 130 bits, of which the last two are zero in an id that was made of a UUID."""
_OWN_ID = re.compile("dec_([0-9a-v]{25}[048cgkos])")
_PLACE = re.compile(b"[\x01\x03]|\x02(.)", re.DOTALL)
_DIGITS, _PADDING_BITS = 26, 2
_UUID_BYTES, _TIME_BYTES = 16, 6
_MOST_IDS = 255
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_TRACE_BYTES = 25
_NO_TRACE, _TRACE = 0, 1


class DamagedRecord(ValueError):
    """Bytes that are no packed decision record."""


def compress(record: DecisionRecord) -> bytes:
    """Return the record without the fields that have columns: form, trace, the rest compressed, ids."""
    trace = None if record.traceparent is None else _TRACEPARENT.fullmatch(record.traceparent)
    excluded = _WITH_COLUMNS if trace is None else {*_WITH_COLUMNS, "traceparent"}
    text = record.model_dump_json(exclude_none=True, exclude=excluded).encode()
    ids: list[bytes] = []
    text = _ID.sub(_taking(ids, _own_time(record.decision_id)), text)
    compressor = _COMPRESSOR_2.copy()
    return b"".join(
        (
            bytes((2, _NO_TRACE if trace is None else _TRACE)),
            b"" if trace is None else bytes.fromhex(trace[1] + trace[2] + trace[3]),
            compressor.compress(text),
            compressor.flush(),
            *ids,
        )
    )


def compress_as_before(record: DecisionRecord) -> bytes:
    """Return the record in form 1, which the build before reads."""
    document = record.model_dump_json(exclude_none=True, exclude=_WITH_COLUMNS).encode()
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW, _MEMORY_LEVEL, zdict=DICTIONARY_1)
    return b"\x01" + compressor.compress(document) + compressor.flush()


def decompress(packed: bytes, decision_id: str = "") -> dict[str, object]:
    """Return the fields that are packed in the record of a decision. Raises DamagedRecord."""
    read = _READERS.get(packed[0]) if packed else None
    if read is None:
        raise DamagedRecord("a decision is packed in a way that this build does not know: it comes from a newer one")
    try:
        document = read(packed, decision_id)
    except (zlib.error, orjson.JSONDecodeError, IndexError):
        raise DamagedRecord("a packed decision is damaged") from None
    if not isinstance(document, dict):
        raise DamagedRecord("a packed decision is damaged")
    return document


def document_of(row: Mapping[str, object]) -> dict[str, object]:
    """Return all fields of a record from its row, whichever build has written it. Raises DamagedRecord."""
    packed, record, decided_at = row["packed"], row["record"], row["decided_at"]
    if isinstance(packed, bytes):
        assert isinstance(decided_at, datetime)
        return decompress(packed, str(row["decision_id"])) | {
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


def _taking(ids: list[bytes], time: bytes) -> Callable[[re.Match[bytes]], bytes]:
    """Return what replaces each id, and appends it to `ids`."""
    numbers: dict[bytes, int] = {}

    def replace(found: re.Match[bytes]) -> bytes:
        digits = found[1]
        number = numbers.get(digits)
        if number is not None:
            return b"_" + _KNOWN_ID + bytes((number,))
        if len(ids) == _MOST_IDS:
            return found[0]
        numbers[digits] = len(ids)
        uuid = (int(digits, 32) >> _PADDING_BITS).to_bytes(_UUID_BYTES)
        if uuid.startswith(time):
            ids.append(uuid[_TIME_BYTES:])
            return b"_" + _ID_OF_THE_TIME
        ids.append(uuid)
        return b"_" + _NEW_ID

    return replace


def _own_time(decision_id: str) -> bytes:
    """Return the time of a decision's id, or what no UUID begins with."""
    own = _OWN_ID.fullmatch(decision_id)
    if own is None:
        return bytes(_UUID_BYTES + 1)
    return (int(own[1], 32) >> _PADDING_BITS).to_bytes(_UUID_BYTES)[:_TIME_BYTES]


def _read_form_1(packed: bytes, _decision_id: str) -> object:
    decompressor = zlib.decompressobj(_RAW, zdict=DICTIONARY_1)
    return orjson.loads(decompressor.decompress(packed[1:], _MAX_BYTES))


def _read_form_2(packed: bytes, decision_id: str) -> object:
    start = 2 + _TRACE_BYTES * packed[1]
    decompressor = zlib.decompressobj(_RAW_2, zdict=_DICTIONARY_2)
    text = decompressor.decompress(packed[start:], _MAX_BYTES)
    document = orjson.loads(_PLACE.sub(_returning(decompressor.unused_data, _own_time(decision_id)), text))
    if packed[1] == _TRACE and isinstance(document, dict):
        trace = packed[2:start].hex()
        document["traceparent"] = f"00-{trace[:32]}-{trace[32:48]}-{trace[48:]}"
    return document


def _returning(ids: bytes, time: bytes) -> Callable[[re.Match[bytes]], bytes]:
    """Return what replaces each place of an id by its digits, or raises IndexError."""
    known: list[bytes] = []
    position = 0

    def replace(found: re.Match[bytes]) -> bytes:
        nonlocal position
        if found[1] is not None:
            return known[found[1][0]]
        before = time if found[0] == _ID_OF_THE_TIME else b""
        uuid = before + ids[position : position + _UUID_BYTES - len(before)]
        if len(uuid) != _UUID_BYTES:
            raise IndexError
        position += _UUID_BYTES - len(before)
        known.append(base64.b32hexencode(uuid)[:_DIGITS].lower())
        return known[-1]

    return replace


_READERS: Mapping[int, Callable[[bytes, str], object]] = {1: _read_form_1, 2: _read_form_2}
