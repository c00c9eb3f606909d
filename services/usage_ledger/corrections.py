"""What attempts cost after re-ratings: the rows of `attempts` stay as recorded, and `corrected_attempts` has what holds now.

Whatever adds attempts up reads both, so that sums, lists and exports agree with what tenants paid.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, FromClause, MetaData, Numeric, RowMapping, Table, Text, func

from keyferry.contracts.money import PLACES
from keyferry.contracts.usage import RecordedAmounts
from services.usage_ledger.database import SCHEMA, attempts

CORRECTED = (
    "cost_usd",
    "price_version",
    "pricing",
    "charge_micro_usd",
    "absorbed_micro_usd",
    "spend_micro_usd",
    "plan_version",
)
"""What a re-rating may change of an attempt. What was known before is known afterwards."""
RERATE_ID = "rerate_id"

corrected_attempts = Table(
    "corrected_attempts",
    MetaData(schema=SCHEMA),
    Column("attempt_id", Text, primary_key=True),
    Column(RERATE_ID, Text),
    Column("cost_usd", Numeric(24, PLACES)),
    Column("price_version", Text),
    Column("pricing", Text),
    Column("charge_micro_usd", BigInteger),
    Column("absorbed_micro_usd", BigInteger),
    Column("spend_micro_usd", BigInteger),
    Column("plan_version", Text),
)
WITH_CORRECTIONS: FromClause = attempts.outerjoin(
    corrected_attempts, corrected_attempts.c.attempt_id == attempts.c.attempt_id
)
JOIN_CORRECTED = """
LEFT JOIN usage_ledger.corrected_attempts AS corrected ON corrected.attempt_id = attempts.attempt_id"""
"""For a statement that selects from `attempts`."""


def current(name: str) -> str:
    """Return the expression of what holds now, in a statement with `JOIN_CORRECTED`."""
    return f"coalesce(corrected.{name}, attempts.{name})" if name in CORRECTED else f"attempts.{name}"


def current_column(name: str) -> ColumnElement[Any]:
    """Return the column of what holds now, of `WITH_CORRECTIONS`."""
    if name not in CORRECTED:
        return attempts.c[name]
    return func.coalesce(corrected_attempts.c[name], attempts.c[name], type_=attempts.c[name].type)


def as_recorded() -> list[ColumnElement[Any]]:
    """Return what was recorded of re-rated attempts, by names of their own, of `WITH_CORRECTIONS`."""
    columns: list[ColumnElement[Any]] = [corrected_attempts.c[RERATE_ID].label(RERATE_ID)]
    return [*columns, *(attempts.c[name].label(f"recorded_{name}") for name in CORRECTED)]


def recorded_amounts(row: RowMapping | Mapping[str, Any]) -> RecordedAmounts | None:
    """Return what was recorded of an attempt that was re-rated; None for one that was not, or is read without corrections."""
    if row.get(RERATE_ID) is None:
        return None
    recorded = {name: row[f"recorded_{name}"] for name in CORRECTED}
    recorded["absorbed_micro_usd"] = recorded["absorbed_micro_usd"] or 0
    return RecordedAmounts(rerate_id=row[RERATE_ID], **recorded)
