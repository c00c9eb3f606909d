"""The record of an attempt without what cannot be kept.

An attempt was paid for, whatever a provider or a program sent with it. A record that does not match its contract, or that
PostgreSQL refuses, is therefore reduced: the fields at fault are cut, replaced or left out and named in `unkept`, and the rest
counts as the attempt. Pure.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pydantic

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.text import clean, header_value
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome, TokenUsage, UsageSource

_UNKNOWN = "unknown"
_MAX_TEXT_CHARACTERS = 200
_MAX_TOKENS = 10**9
"""Of one kind in one attempt: what a worker believes at most, a hundred times what the longest contexts hold."""
_MAX_MS = 10**12
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""The ledger's limits for the start of an attempt."""
_MOST_AHEAD, _MOST_BEHIND = timedelta(days=1), timedelta(days=400)
"""By so much a start may differ from the ledger's clock. A clock that is wrong by more would put the attempt out of every window
that limits spending, so that of the ledger stands in for it."""
USAGE_NOTE = "its record had token counts that cannot be right: they were cut, and its cost is not known"

_ESTIMATED: Mapping[str, object] = {"usage_source": UsageSource.ESTIMATED, "usage_note": USAGE_NOTE}
"""Counts that were cut or left out are no report of the provider."""
_SUBSTITUTES: Mapping[str, object] = {
    "request_id": _UNKNOWN,
    "decision_id": _UNKNOWN,
    "attempt_number": 1,
    "provider": _UNKNOWN,
    "model_asked": _UNKNOWN,
    "model": _UNKNOWN,
    "key_source": KeySource.NONE,
    "outcome": Outcome.INDETERMINATE,
    "latency_ms": 0,
    "stream": False,
}
"""For fields that a record must have. Without its own id, tenant, worker and place in the spool it is nobody's attempt."""
_TEXTS = frozenset({"model_asked", "model"})
_FREE_FIELDS = ("origin", "model_served", "operation", "team", "member", "finish_reason", "service_tier", "traceparent")


def reduce_record(values: Mapping[str, object], now: datetime) -> AttemptRecord | None:
    """Return the record in `values`, with every field that is missing or invalid replaced or left out.

    `now` stands for a start that cannot be read. None means that it does not say whose attempt it is.
    """
    kept = {name: value for name, value in values.items() if name in AttemptRecord.model_fields and value is not None}
    kept["unkept"] = []
    for attempt_to_repair in (_repair, _drop):
        faulty = _faulty_fields(kept)
        if not faulty:
            break
        for name in faulty:
            attempt_to_repair(kept, name, now)
        kept["unkept"] = sorted({*_names(kept["unkept"]), *faulty})
    if "token_usage" in _names(kept["unkept"]):
        kept |= _ESTIMATED
    try:
        return AttemptRecord.model_validate(kept)
    except pydantic.ValidationError:
        return None


def correct_record(record: AttemptRecord, now: datetime) -> AttemptRecord:
    """Return a valid record without what cannot be right: more tokens than any request has, or a start far from `now`.

    Nearly every record is returned as it is.
    """
    changes: dict[str, object] = {}
    if record.token_usage.total > _MAX_TOKENS:
        changes |= {"token_usage": _cut(record.token_usage), **_ESTIMATED}
    if not now - _MOST_BEHIND <= record.started_at <= now + _MOST_AHEAD:
        changes["started_at"] = now
    if not changes:
        return record
    fields = changes.keys() & {"token_usage", "started_at"}
    return record.model_copy(update=changes | {"unkept": sorted({*record.unkept, *fields})})


def reduce_to_essentials(record: AttemptRecord, now: datetime) -> AttemptRecord:
    """Return ids, outcome, times and counts of a valid record, in values that any store accepts. `now` stands for a bad start."""
    changes: dict[str, object] = {
        "model_asked": _ascii(record.model_asked),
        "model": _ascii(record.model),
        "attempt_number": min(record.attempt_number, 1000),
        "failure": None
        if record.failure is None
        else _reduced_failure(record.failure.failure_class, record.failure.where),
        "token_usage": _cut(record.token_usage),
        "reported_cost_usd": None,
        "started_at": record.started_at if _EARLIEST <= record.started_at < _LATEST else now,
        "latency_ms": min(record.latency_ms, _MAX_MS),
        "first_token_ms": None if record.first_token_ms is None else min(record.first_token_ms, _MAX_MS),
        "tags": {},
        **dict.fromkeys(_FREE_FIELDS),
    }
    differing = {name for name, value in changes.items() if value != getattr(record, name)}
    if "token_usage" in differing:
        changes |= _ESTIMATED
    return record.model_copy(update=changes | {"unkept": sorted({*record.unkept, *differing})})


def _faulty_fields(values: Mapping[str, object]) -> set[str]:
    try:
        AttemptRecord.model_validate(values)
    except pydantic.ValidationError as error:
        return {str(fault["loc"][0]) for fault in error.errors(include_context=False, include_input=False)}
    return set()


def _repair(values: dict[str, object], name: str, now: datetime) -> None:
    """Replace a value by what can be kept of it."""
    value = values.get(name)
    if name in _TEXTS and isinstance(value, str) and value:
        values[name] = clean(value, _MAX_TEXT_CHARACTERS)
    elif name == "token_usage" and isinstance(value, Mapping):
        values[name] = {kind: _clip(value.get(kind)) for kind in TokenUsage.model_fields}
    elif name == "failure":
        document = value if isinstance(value, Mapping) else {}
        values[name] = _reduced_failure(document.get("failure_class"), document.get("where"))
    elif name == "started_at":
        values[name] = now
    else:
        _drop(values, name, now)


def _drop(values: dict[str, object], name: str, now: datetime) -> None:
    """Leave a value out, or put one in its place where a record must have one."""
    values.pop(name, None)
    if name in _SUBSTITUTES:
        values[name] = _SUBSTITUTES[name]


def _reduced_failure(failure_class: object, where: object) -> Failure:
    return Failure(
        failure_class=next((known for known in FailureClass if known == failure_class), FailureClass.INTERNAL),
        message="the details of this failure could not be kept",
        where=next((known for known in Where if known == where), Where.GATEWAY),
    )


def _cut(usage: TokenUsage) -> TokenUsage:
    return TokenUsage(**{name: min(count, _MAX_TOKENS) for name, count in usage.model_dump().items()})


def _clip(count: object) -> int:
    """Return what a count may be at most; numbers beyond 64 bits are read as floating-point ones."""
    if isinstance(count, bool) or not isinstance(count, int | float) or not count > 0:
        return 0
    return int(min(count, _MAX_TOKENS))


def _ascii(text: str) -> str:
    return header_value(text)[:_MAX_TEXT_CHARACTERS] or _UNKNOWN


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []
