"""What an attempt has beside the columns that are queried, as the table keeps it: its holds, its versions and where it came from.

The first byte is the number of the form; the second says what follows. Ids that are a prefix and a UUID are kept as the UUID, and
read exactly as they were; every other id stays a text. Texts that recur are compressed with a dictionary. Pure.
"""

import base64
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from keyferry.contracts.credit import Reservation
from keyferry.contracts.ids import BUDGET, DECISION
from keyferry.contracts.usage import AttemptRecord, LedgerRow

_FORM = 1
_TRACE, _HOLDS, ALLOWANCE = 1, 2, 4
FLAGS_BYTE = 1
"""The byte that says: there is the rest of a trace; there are holds; one of them is on an allowance of free requests."""
LABEL_OF_BUDGET = """
CASE WHEN position(CAST(:budget_uuid AS bytea) IN attempts.packed) > 0 THEN (
    SELECT encode(substring(attempts.packed FROM at + 17 FOR get_byte(attempts.packed, at + 15)), 'escape')
    FROM CAST(position(CAST(:budget_uuid AS bytea) IN attempts.packed) AS integer) AS at
) END"""
"""The expression of the window of which a packed attempt has a hold on a budget; null if it has none.

It is the text after the UUID of the budget, which nothing else has: one byte for its length, and its characters.
"""
_TEXTS = ("worker_id", "usage_source", "finish_reason", "price_version", "plan_version")
_VERSIONS = ("price_version", "plan_version")
"""What a re-rating corrects; a row may have it as it was recorded, as it holds now, or both (`corrections.py`)."""
_DICTIONARY = (
    b'null]["none","estimated","content_filter","tool_use","end_turn","max_tokens","tool_calls","length","worker","operator '
    b'["provider-worker-2","reported","stop","2026-11-21","2026-11-29"]["provider-worker-1","reported","stop","2026-11-21","2026-'
)
"""It never changes; another one needs another number of the form."""
_RAW = -10
_CACHED_TEXTS = 4096
_LEASE = "lea"
_LEASE_IS_UUID = 4
_OTHER_ACCOUNT, _CREDITS, _TENANTS_ALLOWANCE, _BUDGET_WINDOW = range(4)
"""The lowest bits of a hold's first byte."""
_DIGITS = "([0-9a-v]{25}[048cgkos])"
"""Of an id: 26 digits hold 130 bits, of which the last two are zero in an id that was made of a UUID."""
_ID_OF_DECISION = re.compile(f"{DECISION}_{_DIGITS}")
_ID_OF_LEASE = re.compile(f"{_LEASE}_{_DIGITS}")
_ID_OF_BUDGET = re.compile(f"{BUDGET}_{_DIGITS}")
_WINDOW_OF_BUDGET = re.compile(f"budget/{BUDGET}_{_DIGITS}/(.*)", re.DOTALL)
_PADDING_BITS = 2
_UUID_BYTES = 16
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16}-[0-9a-f]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class DamagedAttempt(ValueError):
    """Bytes that are no packed attempt."""


class PackedAttempt(NamedTuple):
    """The columns of a packed attempt, as texts of PostgreSQL; what cannot be kept so is null and stays in its own column."""

    decision_uuid: str | None
    trace_uuid: str | None
    packed: str
    """In hexadecimal digits."""


def shorten(row: LedgerRow) -> PackedAttempt | None:
    """Return what an attempt is kept as; None if it contradicts itself, so that PostgreSQL has to refuse it."""
    record, reservation = row.record, row.record.reservation
    if record.spool_seq < 1 or (row.price_version is None) == (row.pricing == "priced"):
        return None
    decision = _ID_OF_DECISION.fullmatch(record.decision_id)
    trace = None if record.traceparent is None else _TRACEPARENT.fullmatch(record.traceparent)
    if trace is not None and trace[1] != row.trace_id:
        trace = None
    out = bytearray((_FORM, 0))
    _write_number(out, record.spool_seq)
    if trace is not None:
        out[1] |= _TRACE
        out += bytes.fromhex(trace[2].replace("-", ""))
    if reservation is not None:
        out[1] |= _HOLDS
        _write_reservation(out, reservation, record)
    out += _compress_texts(
        record.worker_id, str(record.usage_source), record.finish_reason, row.price_version, row.plan_version
    )
    return PackedAttempt(
        None if decision is None else f"{int(decision[1], 32) >> _PADDING_BITS:032x}",
        None if trace is None else trace[1],
        out.hex(),
    )


def whole_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row of the table with all that it was packed of, whichever build has written it. Raises DamagedAttempt."""
    values = dict(row)
    packed = values.pop("packed")
    decision, trace = values.pop("decision_uuid"), values.pop("trace_uuid")
    if packed is None:
        return values
    try:
        found = _unpack(packed, row["tenant"], row["started_at"])
        rest = None if trace is None else found["trace_rest"]
    except (LookupError, zlib.error, ValueError):
        raise DamagedAttempt("a packed attempt is damaged, or comes from a newer build") from None
    for name in _VERSIONS:
        version = found.pop(name)
        for each in (name, f"recorded_{name}", f"current_{name}"):
            if each in values or each == name:
                # What a correction says holds.
                values[each] = version if values.get(each) is None else values[each]
    values |= found
    if decision is not None:
        values["decision_id"] = _id_of(DECISION, decision.bytes)
    if trace is not None:
        values |= {"trace_id": trace.hex, "traceparent": f"00-{trace.hex}-{rest}"}
    if values.get("unkept", ()) is None:
        values["unkept"] = []
    return values


def uuid_of_budget(budget_id: str) -> bytes | None:
    """Return what a budget is looked for by in packed attempts; None for an id that is not made of a UUID."""
    found = _ID_OF_BUDGET.fullmatch(budget_id)
    return None if found is None else _uuid_of(found[1])


def uuid_range(prefix: str, beginning: str) -> tuple[str, str] | None:
    """Return the first and the last UUID of ids that begin with `beginning`; None if no id with this prefix does."""
    digits = beginning.removeprefix(f"{prefix}_")
    if digits == beginning or not re.fullmatch("[0-9a-v]{1,26}", digits):
        return None
    first, last = (int(digits.ljust(26, filler), 32) for filler in "0v")
    if len(digits) == 26 and first % (1 << _PADDING_BITS):
        return None
    return f"{first >> _PADDING_BITS:032x}", f"{last >> _PADDING_BITS:032x}"


def _unpack(packed: bytes, tenant: str, started_at: datetime) -> dict[str, Any]:
    if packed[0] != _FORM:
        raise DamagedAttempt
    reader = _Reader(packed, 2)
    values: dict[str, Any] = {"spool_seq": reader.number(), "reservation": None}
    if packed[1] & _TRACE:
        rest = reader.take(9).hex()
        values["trace_rest"] = f"{rest[:16]}-{rest[16:]}"
    if packed[1] & _HOLDS:
        values["reservation"] = _read_reservation(reader, tenant, _unix_ms(started_at))
    texts = orjson.loads(zlib.decompressobj(_RAW, zdict=_DICTIONARY).decompress(reader.rest()))
    return values | dict(zip(_TEXTS, texts, strict=True))


@lru_cache(_CACHED_TEXTS)
def _compress_texts(*texts: str | None) -> bytes:
    """Compress texts of which there are few combinations."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, _RAW, zdict=_DICTIONARY)
    return compressor.compress(orjson.dumps(texts)) + compressor.flush()


def _write_reservation(out: bytearray, reservation: Reservation, record: AttemptRecord) -> None:
    difference = reservation.not_after_unix_ms - _unix_ms(record.started_at)
    _write_number(out, difference << 1 if difference >= 0 else ~(difference << 1))
    _write_number(out, len(reservation.holds))
    own_credits, allowance = f"credits/{record.tenant}", f"allowance/{record.tenant}/"
    for hold in reservation.holds:
        lease, account, start = _ID_OF_LEASE.fullmatch(hold.lease_id), hold.account, len(out)
        out.append(0 if lease is None else _LEASE_IS_UUID)
        if lease is None:
            _write_text(out, hold.lease_id)
        else:
            out += _uuid_of(lease[1])
        if account == own_credits:
            out[start] |= _CREDITS
        elif account.startswith(allowance):
            out[start] |= _TENANTS_ALLOWANCE
            _write_text(out, account[len(allowance) :])
        elif (window := _WINDOW_OF_BUDGET.fullmatch(account)) is not None:
            out[start] |= _BUDGET_WINDOW
            out += _uuid_of(window[1])
            _write_text(out, window[2])
        else:
            _write_text(out, account)
        if account.startswith("allowance/"):
            out[1] |= ALLOWANCE
        _write_number(out, hold.amount)


def _read_reservation(reader: "_Reader", tenant: str, started_ms: int) -> dict[str, Any]:
    difference = reader.number()
    not_after = started_ms + (~(difference >> 1) if difference & 1 else difference >> 1)
    holds = []
    for _ in range(reader.number()):
        kind = reader.take(1)[0]
        lease = _id_of(_LEASE, reader.take(_UUID_BYTES)) if kind & _LEASE_IS_UUID else reader.text()
        match kind & 3:
            case 1:
                account = f"credits/{tenant}"
            case 2:
                account = f"allowance/{tenant}/{reader.text()}"
            case 3:
                account = f"budget/{_id_of(BUDGET, reader.take(_UUID_BYTES))}/{reader.text()}"
            case _:
                account = reader.text()
        holds.append({"lease_id": lease, "account": account, "amount": reader.number()})
    return {"holds": holds, "not_after_unix_ms": not_after}


class _Reader:
    """Reads one value after another."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def take(self, size: int) -> bytes:
        found = self._data[self._position : self._position + size]
        if len(found) != size:
            raise IndexError
        self._position += size
        return found

    def number(self) -> int:
        value = shift = 0
        while (byte := self.take(1)[0]) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    def text(self) -> str:
        return self.take(self.number()).decode()

    def rest(self) -> bytes:
        return self._data[self._position :]


def _write_number(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _write_text(out: bytearray, text: str) -> None:
    data = text.encode()
    _write_number(out, len(data))
    out += data


def _uuid_of(digits: str) -> bytes:
    return (int(digits, 32) >> _PADDING_BITS).to_bytes(_UUID_BYTES)


def _id_of(prefix: str, uuid: bytes) -> str:
    return f"{prefix}_{base64.b32hexencode(uuid)[:26].decode().lower()}"


def _unix_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
