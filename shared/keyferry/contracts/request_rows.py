"""Requests as the rows of an export: one for each attempt, and one for a refused request; as CSV and as JSON lines. Pure."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from keyferry.contracts.credit import MICRO
from keyferry.contracts.csv_text import csv_text
from keyferry.contracts.money import plain
from keyferry.contracts.request_log import LoggedAttempt, LoggedRequest
from keyferry.contracts.usage import TokenUsage

ExportRow = Mapping[str, Any]

_OF_REQUEST = ("kind", "stream", "operation", "power_level", "team", "member", "client_token_id", "trace_id")
_OF_ATTEMPT = (
    *("attempt_id", "attempt_number", "provider", "endpoint", "model", "model_served", "charged_level", "key_source"),
    *("key_id", "usage_source", "pricing", "price_version", "plan_version", "latency_ms", "first_token_ms"),
    *("finish_reason", "charge_micro_usd", "absorbed_micro_usd", "spend_micro_usd"),
)
_TOKENS = tuple(f"{kind}_tokens" for kind in TokenUsage.model_fields)
COLUMNS = (
    *("time", "request_id", "attempt_id", "attempt_number", "decision_id", "outcome", "error_class", "error"),
    *("model_asked", "model", "model_served", "provider", "endpoint", "operation", "power_level", "charged_level"),
    *("key_source", "key_id", "client_token_id", "team", "member", "kind", "stream", "finish_reason"),
    *("latency_ms", "first_token_ms", *_TOKENS, "usage_source", "pricing", "cost_usd", "cost_micro_usd"),
    *("charge_micro_usd", "absorbed_micro_usd", "spend_micro_usd", "price_version", "plan_version"),
    *("tags", "trace_id", "recorded_at"),
)
"""In the order of the file."""


def export_rows(request: LoggedRequest, zone: tzinfo) -> list[ExportRow]:
    """Return the rows of a request; times are ISO 8601 with the offset of the zone."""
    if not request.attempts:
        return [_refusal_row(request, zone)]
    return [_attempt_row(request, attempt, zone) for attempt in request.attempts]


def csv_head() -> str:
    """Return the first line of a CSV file."""
    return csv_lines([dict(zip(COLUMNS, COLUMNS, strict=True))])


def csv_lines(rows: Sequence[ExportRow]) -> str:
    """Return rows as CSV."""
    return csv_text([_csv_value(row[name]) for name in COLUMNS] for row in rows)


def json_lines(rows: Sequence[ExportRow]) -> str:
    """Return rows as JSON, one a line; decimals are strings."""
    return "".join(json_line({name: row[name] for name in COLUMNS}) for row in rows)


def json_line(value: Mapping[str, Any]) -> str:
    """Return one JSON line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_to_json) + "\n"


def _attempt_row(request: LoggedRequest, attempt: LoggedAttempt, zone: tzinfo) -> ExportRow:
    usage = attempt.token_usage.model_dump()
    cost = attempt.cost_usd
    return {
        **_shared(request),
        **{name: getattr(attempt, name) for name in _OF_ATTEMPT},
        **{f"{kind}_tokens": count for kind, count in usage.items()},
        "time": _local(attempt.started_at, zone),
        "decision_id": attempt.decision_id,
        "outcome": attempt.outcome.value,
        "error_class": attempt.error_class,
        "error": attempt.error,
        "cost_usd": cost,
        "cost_micro_usd": None if cost is None else int((cost * MICRO).to_integral_value(ROUND_HALF_UP)),
        "recorded_at": _local(attempt.recorded_at, zone),
    }


def _refusal_row(request: LoggedRequest, zone: tzinfo) -> ExportRow:
    return {
        **dict.fromkeys(COLUMNS),
        **_shared(request),
        "time": _local(request.started_at, zone),
        "decision_id": request.decision_id,
        "outcome": request.outcome.value,
        "error_class": request.error_class,
        "error": request.error,
    }


def _shared(request: LoggedRequest) -> dict[str, Any]:
    named = {name: getattr(request, name) for name in _OF_REQUEST}
    return {**named, "request_id": request.request_id, "model_asked": request.model_asked, "tags": request.tags}


def _local(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).isoformat(timespec="microseconds")


def _csv_value(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def _to_json(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    raise TypeError(f"{type(value).__name__} is in no row")
