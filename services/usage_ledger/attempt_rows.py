"""An attempt as a row of its table: as JSON for a statement, and as a line of PostgreSQL's COPY, which takes a third of the time.

Both have the same values; a test compares them. Pure.
"""

from collections.abc import Sequence

import orjson

from keyferry.contracts.usage import LedgerRow
from services.usage_ledger.attempt_packing import PackedAttempt, shorten
from services.usage_ledger.database import RARE_TOKEN_KINDS, TOKEN_KINDS, attempts

NOT_STORED = {"key_rate"}
"""Fields of attempts that are of use for seconds only."""
NULL = "\x01"
"""Stands for a null in a line: no text that was accepted has a control character."""
PACKED = ("reservation", "finish_reason", "usage_source", "worker_id", "price_version", "plan_version", "spool_seq")
"""Columns that are null in a packed row."""
_NO_TAGS, _NOTHING_UNKEPT, _NO_TRACE = "{}", "[]", (None, None, None)
_WHOLE = f"{NULL}\t{NULL}\t{NULL}"
"""The end of the line of a row that is not packed."""

COLUMNS = (
    "attempt_id",
    "request_id",
    "kind",
    "decision_id",
    "tenant",
    "client_token_id",
    "provider",
    "endpoint",
    "origin",
    "model_asked",
    "model",
    "catalog_id",
    "model_served",
    "operation",
    "power_level",
    "team",
    "member",
    "key_source",
    "key_id",
    "tier",
    "charged_level",
    "outcome",
    "finish_reason",
    "service_tier",
    "usage_source",
    "usage_note",
    "worker_id",
    "price_version",
    "pricing",
    "plan_version",
    "trace_id",
    "trace_rest",
    "trace_stored",
    "tags",
    "unkept",
    "failure",
    "reservation",
    "attempt_number",
    "spool_seq",
    "stream",
    "input_tokens",
    "output_tokens",
    *(f"{kind}_stored" for kind in RARE_TOKEN_KINDS),
    "latency_ms",
    "first_token_ms",
    "charge_micro_usd",
    "absorbed_micro_usd",
    "spend_micro_usd",
    "reported_cost_usd",
    "cost_usd",
    "started_at",
    "recorded_at",
    "decision_uuid",
    "trace_uuid",
    "packed",
)
"""In the order of a line."""
assert set(COLUMNS) == {column.name for column in attempts.columns if column.computed is None}
COPY = f"COPY {attempts.fullname} ({', '.join(COLUMNS)}) FROM STDIN WITH (NULL E'\\x01')"


def to_lines(rows: Sequence[LedgerRow], *, packed: bool) -> bytes:
    """Return the lines of rows in this order; `packed`, or as earlier builds read them."""
    return "".join([_line(row, shorten(row) if packed else None) for row in rows]).encode()


def to_values(row: LedgerRow, *, packed: bool) -> dict[str, object]:
    """Return the columns of a row with their values; `packed`, or as earlier builds read them."""
    values = row.record.model_dump(exclude=NOT_STORED)
    token_usage = values.pop("token_usage")
    for kind in TOKEN_KINDS:
        values[f"{kind}_tokens"] = token_usage[kind]
    for kind in RARE_TOKEN_KINDS:
        values[f"{kind}_stored"] = token_usage[kind] or None
    values["trace_id"], values["trace_rest"], values["trace_stored"] = _trace(row.record.traceparent, row.trace_id)
    values["cost_usd"] = row.cost_usd
    values["price_version"] = row.price_version
    values["pricing"] = row.pricing
    values["charge_micro_usd"] = row.charge_micro_usd
    values["absorbed_micro_usd"] = row.absorbed_micro_usd or None
    values["spend_micro_usd"] = row.spend_micro_usd
    values["plan_version"] = row.plan_version
    values["recorded_at"] = row.recorded_at
    short = shorten(row) if packed else None
    if short is not None:
        values |= dict.fromkeys(PACKED)
        values["unkept"] = row.record.unkept or None
        values["packed"] = f"\\x{short.packed}"
        if short.decision_uuid is not None:
            values |= {"decision_id": None, "decision_uuid": short.decision_uuid}
        if short.trace_uuid is not None:
            values |= {"trace_id": None, "trace_rest": None, "trace_uuid": short.trace_uuid}
    return values


def _line(row: LedgerRow, short: PackedAttempt | None) -> str:
    texts = [NULL if value is None else value for value in _texts(row, short)]
    line = "\t".join(texts)
    if "\\" in line or "\n" in line or "\r" in line or line.count("\t") != len(texts) - 1:
        line = "\t".join(map(_escape, texts))
    end = _WHOLE if short is None else f"{short.decision_uuid or NULL}\t{short.trace_uuid or NULL}\t\\\\x{short.packed}"
    return f"{line}\t{_numbers(row, short)}\t{end}\n"


def _texts(row: LedgerRow, short: PackedAttempt | None) -> tuple[str | None, ...]:
    record = row.record
    failure, reservation = record.failure, None if short else record.reservation
    return (
        record.attempt_id,
        record.request_id,
        record.kind,
        None if short and short.decision_uuid else record.decision_id,
        record.tenant,
        record.client_token_id,
        record.provider,
        record.endpoint,
        record.origin,
        record.model_asked,
        record.model,
        record.catalog_id,
        record.model_served,
        record.operation,
        record.power_level,
        record.team,
        record.member,
        record.key_source,
        record.key_id,
        record.tier,
        record.charged_level,
        record.outcome,
        None if short else record.finish_reason,
        record.service_tier,
        None if short else record.usage_source,
        record.usage_note,
        None if short else record.worker_id,
        None if short else row.price_version,
        row.pricing,
        None if short else row.plan_version,
        *(_NO_TRACE if short and short.trace_uuid else _trace(record.traceparent, row.trace_id)),
        orjson.dumps(record.tags).decode() if record.tags else _NO_TAGS,
        orjson.dumps(record.unkept).decode() if record.unkept else None if short else _NOTHING_UNKEPT,
        None if failure is None else failure.model_dump_json(),
        None if reservation is None else reservation.model_dump_json(),
    )


def _numbers(row: LedgerRow, short: PackedAttempt | None) -> str:
    record = row.record
    usage = record.token_usage
    numbers = (
        usage.input,
        usage.output,
        usage.cached_read or None,
        usage.cache_write or None,
        usage.cache_write_1h or None,
        usage.reasoning or None,
        usage.audio or None,
        usage.image or None,
        usage.audio_output or None,
        usage.image_output or None,
        record.latency_ms,
        record.first_token_ms,
        row.charge_micro_usd,
        row.absorbed_micro_usd or None,
        row.spend_micro_usd,
        record.reported_cost_usd,
        row.cost_usd,
    )
    line = "\t".join([NULL if number is None else str(number) for number in numbers])
    stream = "t" if record.stream else "f"
    spool_seq = NULL if short else record.spool_seq
    return (
        f"{record.attempt_number}\t{spool_seq}\t{stream}\t{line}"
        f"\t{record.started_at.isoformat()}\t{row.recorded_at.isoformat()}"
    )


def _trace(traceparent: str | None, trace_id: str | None) -> tuple[str | None, str | None, str | None]:
    """Return what `traceparent` is put together from: its trace id, the rest, or all of it if it has no usual form."""
    beginning = f"00-{trace_id}-"
    if trace_id is not None and traceparent is not None and traceparent.startswith(beginning):
        return trace_id, traceparent.removeprefix(beginning), None
    return trace_id, None, traceparent


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
