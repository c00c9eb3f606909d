"""Requests of the log, made of the rows of their attempts or of their refusal. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from keyferry.contracts.money import bounded, sum_known
from keyferry.contracts.request_log import LoggedAttempt, LoggedRequest, RequestOutcome
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import LedgerRow, TokenUsage
from services.usage_ledger.corrections import RERATE_ID, recorded_amounts

Row = Mapping[str, Any]

_MILLISECOND = timedelta(milliseconds=1)
_OF_REQUEST = ("kind", "stream", "model_asked", "operation", "power_level", "team", "member", "client_token_id", "tags")


def attempt_of(row: Row) -> LoggedAttempt:
    """Return an attempt of the log by its row in the table."""
    kinds = TokenUsage.model_fields
    own = {name: row[name] for name in LoggedAttempt.model_fields if name in row}
    failure = row["failure"] or {}
    return LoggedAttempt.model_validate(
        own
        | {
            "error_class": failure.get("failure_class"),
            "error": failure.get("message"),
            "token_usage": {kind: min(row[f"{kind}_tokens"], BIGINT_MAX) for kind in kinds},
            "absorbed_micro_usd": row["absorbed_micro_usd"] or 0,
            "started_at": row["started_at"].astimezone(UTC),
            "recorded_at": row["recorded_at"].astimezone(UTC),
        }
        | ({"before_rerating": recorded_amounts(row)} if RERATE_ID in row else {})
    )


def row_of(found: LedgerRow) -> dict[str, Any]:
    """Return an attempt of the ledger as a row of the table, as far as the log shows it."""
    values = found.record.model_dump()
    usage = values.pop("token_usage")
    fields = ("cost_usd", "price_version", "pricing", "charge_micro_usd", "absorbed_micro_usd", "spend_micro_usd")
    own = {
        name: getattr(found, name) for name in (*fields, "plan_version", "before_rerating", "trace_id", "recorded_at")
    }
    return values | {f"{kind}_tokens": count for kind, count in usage.items()} | own


def request_of_attempts(rows: Sequence[Row]) -> LoggedRequest:
    """Return a request by the rows of its attempts, in order."""
    found = [attempt_of(row) for row in rows]
    first, last = found[0], found[-1]
    charges = [one.charge_micro_usd for one in found if one.charge_micro_usd is not None]
    values = {name: rows[0][name] for name in _OF_REQUEST}
    return LoggedRequest.model_validate(
        values
        | {
            "request_id": rows[0]["request_id"],
            "started_at": first.started_at,
            "outcome": RequestOutcome(last.outcome.value),
            "error_class": last.error_class,
            "error": last.error,
            "decision_id": last.decision_id,
            "model_served": last.model_served or last.model,
            "provider": last.provider,
            "endpoint": last.endpoint,
            "key_source": last.key_source,
            "trace_id": rows[-1]["trace_id"],
            "tokens": min(sum(one.token_usage.total for one in found), BIGINT_MAX),
            "cost_usd": bounded(sum_known(one.cost_usd for one in found)),
            "unpriced": sum(one.pricing == "unpriced" for one in found),
            "charge_micro_usd": min(sum(charges), BIGINT_MAX) if charges else None,
            "latency_ms": _duration_ms(first.started_at, last, last.latency_ms),
            "first_token_ms": None
            if last.first_token_ms is None
            else _duration_ms(first.started_at, last, last.first_token_ms),
            "attempts": found,
        }
    )


def request_of_refusal(row: Row) -> LoggedRequest:
    """Return a request by the row of the decision that refused it."""
    values = {name: row[name] for name in _OF_REQUEST}
    return LoggedRequest.model_validate(
        values
        | {
            "request_id": row["request_id"],
            "started_at": row["decided_at"].astimezone(UTC),
            "outcome": RequestOutcome.REFUSED,
            "error_class": row["failure_class"],
            "error": row["message"],
            "decision_id": row["decision_id"],
            "trace_id": row["trace_id"],
            "cost_usd": 0,
        }
    )


def _duration_ms(begin: datetime, last: LoggedAttempt, within_ms: int) -> int:
    """Return the time from `begin` until so long after the last attempt began; workers' clocks may differ, so at least that."""
    return min(max((last.started_at - begin) // _MILLISECOND, 0) + within_ms, BIGINT_MAX)
