"""What the deletion of a tenant has found and left, step by step. Pure."""

from collections.abc import Iterable, Sequence

from keyferry.contracts.erasure import ErasedRows, ErasedTenant, TenantRows, Treatment
from keyferry.contracts.streams import STREAMS

_RECORDS = {
    "ATTEMPTS": "records of its attempts",
    "DECISIONS": "decisions about its requests",
    "AUDIT": "audit events",
    "PAYMENTS": "changes of its payments and credits",
}


def count(counted: Iterable[TenantRows], before: Sequence[ErasedRows]) -> list[ErasedRows]:
    """Return what was found by now: what an earlier step found, and what is there in addition to what that step left."""
    known = {rows.table: rows for rows in before}
    return [
        ErasedRows(
            table=rows.table,
            treatment=rows.treatment,
            found=rows.rows
            if rows.table not in known
            else known[rows.table].found + max(0, rows.rows - known[rows.table].left),
            left=rows.rows,
            reason=rows.reason,
        )
        for rows in counted
    ]


def note_step(step: ErasedTenant, before: Sequence[ErasedRows]) -> list[ErasedRows]:
    """Return what was found and is left after a step that removed rows."""
    found = {rows.table: rows.found for rows in before}
    return [
        ErasedRows(
            table=rows.table,
            treatment=rows.treatment,
            found=max(found.get(rows.table, 0), rows.rows),
            left=rows.rows,
            reason=rows.reason,
        )
        for rows in step.tables
    ]


def describe_unfinished(tables: Iterable[ErasedRows]) -> str | None:
    """Return what is left to be removed; None if nothing is."""
    left = [f"{rows.table} ({rows.left})" for rows in tables if rows.left and rows.treatment is Treatment.REMOVED]
    return f"rows are left in {', '.join(left)}" if left else None


def list_elsewhere() -> list[str]:
    """Return what of a tenant is outside of the tables, and when it goes."""
    ages = {stream.name: stream.max_age.days for stream in STREAMS}
    return [
        *(
            f"the bus keeps {what} for {ages[name]} days (stream {name}), then they are gone"
            for name, what in _RECORDS.items()
        ),
        "records that arrive late, from the bus or a worker's disk, are removed by further passes once a day for 35 days",
        "dead letters are kept for 30 days, or until an operator discards them",
        (
            "backups of the tables have what they had: let them expire. A backup of the data keys opens the provider keys in it,"
            " together with the KEK of that time; a backup without the data keys opens none"
        ),
        "logs and traces of processes have ids of requests and the tenant's id, and no content; how long is up to who keeps them",
        "what providers keep of calls is up to their terms",
    ]
