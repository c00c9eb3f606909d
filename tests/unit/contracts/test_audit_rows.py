"""Audit entries as the rows of an export."""

import csv
import json
from datetime import UTC, datetime

from keyferry.contracts.audit import AuditEntry, AuditEvent, AuditOutcome, CommandChannel, CommandSource
from keyferry.contracts.audit_rows import COLUMNS, audit_csv, audit_csv_head, audit_end_line, audit_json_lines

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


def entry(target: str, source: CommandSource | None = None) -> AuditEntry:
    event = AuditEvent(
        event_id="evt_1",
        service="router",
        tenant="acme",
        actor="ann",
        action="endpoint.save",
        target=target,
        outcome=AuditOutcome.DONE,
        details={"note": "=1+1", "enabled": "false → true"},
        source=source,
        at=AT,
        sequence=1,
    )
    return AuditEntry(position=7, event=event, previous="0" * 64, digest="1" * 64, recorded_at=AT)


def rows(*entries: AuditEntry) -> list[dict[str, str]]:
    return list(csv.DictReader((audit_csv_head() + audit_csv(entries)).splitlines()))


def test_a_row_has_every_column() -> None:
    source = CommandSource(channel=CommandChannel.API, address="10.0.0.1", request_id="req_1")
    [row] = rows(entry("lab", source))
    assert tuple(row) == COLUMNS
    assert (row["position"], row["time"], row["actor"]) == ("7", "2026-11-30T12:00:00+00:00", "ann")
    assert (row["channel"], row["address"], row["request_id"]) == ("api", "10.0.0.1", "req_1")
    assert row["details"] == "enabled: false → true; note: =1+1"


def test_no_spreadsheet_takes_a_value_for_a_formula() -> None:
    found = rows(*(entry(f"{sign}cmd|' /C calc'!A0") for sign in "=+-@"))
    assert [row["target"][0] for row in found] == ["'"] * 4


def test_json_lines_have_whole_entries_and_an_end() -> None:
    line, end = (audit_json_lines([entry("lab")]) + audit_end_line(1)).splitlines()
    assert AuditEntry.model_validate_json(line) == entry("lab")
    assert json.loads(end) == {"end": True, "entries": 1}
    assert json.loads(audit_end_line(3, "away")) == {"error": {"message": "away"}, "entries": 3}
