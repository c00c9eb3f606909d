"""Audit entries as the rows of an export, one an entry; as CSV and as JSON lines. Pure."""

import json
from collections.abc import Sequence

from keyferry.contracts.audit import AuditEntry
from keyferry.contracts.csv_text import csv_text

COLUMNS = (
    *(
        "position",
        "time",
        "tenant",
        "actor",
        "action",
        "target",
        "outcome",
        "service",
        "channel",
        "address",
        "request_id",
    ),
    *("details", "event_id", "recorded_at", "previous", "digest"),
)
"""In the order of the file."""


def audit_csv_head() -> str:
    """Return the first line of a CSV file."""
    return csv_text([COLUMNS])


def audit_csv(entries: Sequence[AuditEntry]) -> str:
    """Return entries as CSV; the details are `name: value`, separated by semicolons."""
    return csv_text(_values(entry) for entry in entries)


def audit_json_lines(entries: Sequence[AuditEntry]) -> str:
    """Return entries as JSON, one a line."""
    return "".join(f"{entry.model_dump_json(exclude_none=True)}\n" for entry in entries)


def audit_end_line(entries: int, error: str | None = None) -> str:
    """Return the last line of a file of JSON lines: how many entries there are, or why there are no more."""
    end: dict[str, object] = {"end": True} if error is None else {"error": {"message": error}}
    return json.dumps(end | {"entries": entries}) + "\n"


def _values(entry: AuditEntry) -> list[str | int | None]:
    event, source = entry.event, entry.event.source
    return [
        *(entry.position, event.at.isoformat(), event.tenant, event.actor, event.action, event.target),
        *(event.outcome.value, event.service),
        *((None, None, None) if source is None else (source.channel.value, source.address, source.request_id)),
        "; ".join(f"{name}: {value}" for name, value in sorted(event.details.items())),
        *(event.event_id, entry.recorded_at.isoformat(), entry.previous, entry.digest),
    ]
