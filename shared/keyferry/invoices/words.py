"""The words and amounts of statements, for files and terminals. Pure."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

from keyferry.contracts.analytics_answers import DimensionValue, UsageFigures, ValueKind
from keyferry.contracts.money import plain
from keyferry.contracts.statements import (
    ReconciliationKind,
    Statement,
    StatementEntryKind,
    StatementState,
)

ENTRY_WORDS: Mapping[StatementEntryKind, str] = MappingProxyType(
    {
        StatementEntryKind.PURCHASE: "Purchases",
        StatementEntryKind.GRANT: "Grants",
        StatementEntryKind.REFUND: "Refunds",
        StatementEntryKind.DISPUTE: "Disputed payments",
        StatementEntryKind.DEBT: "Paid of what was owed",
        StatementEntryKind.ADJUSTMENT: "Adjustments",
        StatementEntryKind.CHARGE: "Charges of requests",
        StatementEntryKind.CORRECTION: "Corrections of charges",
        StatementEntryKind.OTHER: "Other",
    }
)
RECONCILIATION_WORDS: Mapping[ReconciliationKind, str] = MappingProxyType(
    {
        ReconciliationKind.RECORDED_IN_OTHER_MONTH: "Began in this month, recorded in another",
        ReconciliationKind.BEGUN_IN_OTHER_MONTH: "Recorded in this month, began in another",
        ReconciliationKind.RERATED: "Later changes of this month's charges by corrected prices",
        ReconciliationKind.CORRECTIONS: "Corrections posted in this month",
        ReconciliationKind.UNCOLLECTED: "Charges that found no credits, borne by the platform",
        ReconciliationKind.REMOVED: "Attempts that are no longer kept one by one",
    }
)
STATE_WORDS: Mapping[StatementState, str] = MappingProxyType(
    {
        StatementState.OPEN: "the month lasts: up to now",
        StatementState.SETTLING: "the month has ended; some of its requests may not be recorded yet",
        StatementState.CLOSED: "complete",
    }
)
_MICRO_PLACES = 6


def dollars(micro_usd: int) -> str:
    """Return micro-dollars as dollars with six places, which is exact: -1500 is `-0.001500`."""
    whole, rest = divmod(abs(micro_usd), 10**_MICRO_PLACES)
    return f"{'-' if micro_usd < 0 else ''}{whole:,}.{rest:0{_MICRO_PLACES}}"


def cost_text(figures: UsageFigures) -> str:
    """Return what providers take, exactly; with a plus sign if the cost of some attempts is unknown."""
    if figures.cost_usd is None:
        return "unknown"
    return plain(figures.cost_usd) + (" +" if figures.unpriced else "")


def value_text(key: DimensionValue) -> str:
    """Return a value as people read it; `(none)` and the like where there is no single one."""
    return key.value if key.kind is ValueKind.VALUE and key.value else f"({key.kind.value})"


def local_time(at: datetime, tz: str) -> str:
    """Return a moment in a zone, to the second, with its offset."""
    return at.astimezone(ZoneInfo(tz)).isoformat(sep=" ", timespec="seconds")


def file_name(statement: Statement) -> str:
    """Return the name of a statement's file, without its ending."""
    return f"keyferry-invoice-{statement.tenant}-{statement.month}"
