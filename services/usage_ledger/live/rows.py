"""Requests of the log as JSON, made of what was just recorded, without a look at the tables.

Everything in them was validated or computed when it was recorded. To validate it again, or only to build the messages, would take
several times as long as to write their JSON. A test compares them with the rows of the log. Pure.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import orjson
from pydantic import TypeAdapter

from keyferry.contracts.failure import Failure
from keyferry.contracts.money import bounded, plain, sum_known
from keyferry.contracts.request_log import RequestOutcome, ShownError
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import LedgerRow

Json = dict[str, object]

_MILLISECOND = timedelta(milliseconds=1)
_SHOWN_ERROR: TypeAdapter[str] = TypeAdapter(ShownError)
_OF_REQUEST = ("request_id", "kind", "stream", "model_asked", "operation", "power_level", "team", "member")
_OF_LAST = ("decision_id", "provider", "endpoint", "key_source", "outcome")
_OF_ATTEMPT = (
    *("attempt_id", "attempt_number", "decision_id", "provider", "endpoint", "model", "model_served", "power_level"),
    *("charged_level", "key_source", "key_id", "outcome", "finish_reason", "usage_source", "started_at", "latency_ms"),
    "first_token_ms",
)
_OF_ROW = (
    *("pricing", "cost_usd", "price_version", "charge_micro_usd", "absorbed_micro_usd", "spend_micro_usd"),
    *("plan_version", "recorded_at"),
)


def committed_request(rows: Sequence[LedgerRow]) -> Json:
    """Return a `CommittedRequest` of those attempts of a request that are known here, in order."""
    numbers = [row.record.attempt_number for row in rows]
    return {"complete": numbers == list(range(1, len(rows) + 1)), "request": _request(rows)}


def refused_request(record: DecisionRecord, trace: str | None) -> Json | None:
    """Return a request that no attempt was made for; None if the decision refused none. `trace` is the id of its trace."""
    if record.refusal is None or record.attempt_number != 1:
        return None
    own = _choose(record.__dict__, (*_OF_REQUEST, "decision_id", "client_token_id", "tags"))
    request = own | _error(record.refusal)
    request |= {
        "started_at": record.decided_at,
        "outcome": RequestOutcome.REFUSED,
        "trace_id": trace,
        "cost_usd": Decimal(0),
    }
    return {"complete": True, "request": request}


def encode_requests(tenant: str, requests: Sequence[Json], skipped: int, at: datetime) -> bytes:
    """Return a `RequestsRecorded` as JSON."""
    message = {"tenant": tenant, "requests": requests, "skipped": skipped, "at": at}
    return orjson.dumps(message, default=_to_json)


def _request(rows: Sequence[LedgerRow]) -> Json:
    first, last = rows[0].record, rows[-1].record
    charges = [row.charge_micro_usd for row in rows if row.charge_micro_usd is not None]
    values = _choose(first.__dict__, _OF_REQUEST) | _choose(last.__dict__, _OF_LAST) | _error(last.failure)
    values["client_token_id"], values["tags"] = first.client_token_id, first.tags
    values["started_at"] = first.started_at
    values["model_served"] = last.model_served or last.model
    values["trace_id"] = rows[-1].trace_id
    values["tokens"] = min(sum(row.record.token_usage.total for row in rows), BIGINT_MAX)
    values["cost_usd"] = bounded(sum_known(row.cost_usd for row in rows))
    values["unpriced"] = sum(row.pricing == "unpriced" for row in rows)
    values["charge_micro_usd"] = min(sum(charges), BIGINT_MAX) if charges else None
    values["latency_ms"] = _since(first.started_at, last.started_at, last.latency_ms)
    if last.first_token_ms is not None:
        values["first_token_ms"] = _since(first.started_at, last.started_at, last.first_token_ms)
    values["attempts"] = [_attempt(row) for row in rows]
    return values


def _attempt(row: LedgerRow) -> Json:
    record = row.record
    values = _choose(record.__dict__, _OF_ATTEMPT) | _choose(row.__dict__, _OF_ROW) | _error(record.failure)
    values["token_usage"] = record.token_usage.__dict__
    return values


def _error(failure: Failure | None) -> Json:
    if failure is None:
        return {}
    return {"error_class": failure.failure_class, "error": _SHOWN_ERROR.validate_python(failure.message)}


def _choose(values: Mapping[str, object], names: Sequence[str]) -> Json:
    return {name: values[name] for name in names}


def _since(begin: datetime, last: datetime, within_ms: int) -> int:
    """Return the time from `begin` until so long after the last attempt began; workers' clocks may differ, so at least that."""
    return min(max((last - begin) // _MILLISECOND, 0) + within_ms, BIGINT_MAX)


def _to_json(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    raise TypeError
