"""A statement as one table for spreadsheets. Pure.

The column `section` says what a row is: the rows of `lines` add up to the row `total`, as do those of each `by ...`; the rows of
`account` lead from the opening to the closing balance, those of `reconciliation` from the usage to what was posted.
"""

from collections.abc import Iterable, Iterator

from keyferry.contracts.analytics import Dimension
from keyferry.contracts.analytics_answers import BreakdownRow, DimensionValue, UsageFigures, ValueKind
from keyferry.contracts.csv_text import CsvValue, csv_text
from keyferry.contracts.statements import Statement
from keyferry.contracts.usage_rows import FIGURES, dimension_name, figure_values, micro_to_usd
from keyferry.invoices.words import local_time

VALUES = (
    *(Dimension.MODEL, Dimension.PROVIDER, Dimension.KEY_SOURCE, Dimension.TEAM),
    *(Dimension.MEMBER, Dimension.CLIENT_TOKEN),
)
HEAD = (
    *("section", "row", "month", "tz", "since", "until"),
    *(each.value for each in VALUES),
    *("tag", "tag_value", "at", "reason", "source", "source_id", "number", "amount_micro_usd", "amount_usd"),
    *FIGURES,
)
"""The columns. `number` counts transfers or attempts; amounts of `account` are negative where something was taken."""


def statement_csv(found: Statement) -> str:
    """Return a statement as CSV."""
    return csv_text([HEAD, *(tuple(row.get(name) for name in HEAD) for row in _rows(found))])


def _rows(found: Statement) -> Iterator[dict[str, CsvValue]]:
    about: dict[str, CsvValue] = {
        "month": found.month,
        "tz": found.tz,
        "since": local_time(found.since, found.tz),
        "until": local_time(found.until, found.tz),
    }
    for row in (*_account(found), *_usage(found), *_reconciliation(found)):
        yield about | row


def _account(found: Statement) -> Iterator[dict[str, CsvValue]]:
    account = found.account
    yield {"section": "account", "row": "opening", **_amount(account.opening_micro_usd)}
    for each in account.sums:
        yield {
            "section": "account",
            "row": each.kind.value,
            "number": each.transfers,
            **_amount(each.amount_micro_usd),
        }
    yield {"section": "account", "row": "closing", **_amount(account.closing_micro_usd)}
    for entry in account.entries:
        yield {
            "section": "entries",
            "row": entry.kind.value,
            "at": local_time(entry.at, found.tz),
            "reason": entry.reason,
            "source": entry.source,
            "source_id": entry.source_id,
            **_amount(entry.amount_micro_usd),
        }


def _usage(found: Statement) -> Iterator[dict[str, CsvValue]]:
    yield from _lines("lines", found.lines, found.tag)
    if found.rest is not None:
        yield {"section": "lines", "row": ValueKind.REST.value, **_figures(found.rest)}
    yield {"section": "total", "row": "total", **_figures(found.total)}
    yield {"section": "keys", "row": "own", **_figures(found.own_keys)}
    yield {"section": "keys", "row": "platform", **_figures(found.platform_keys)}
    for each in found.breakdowns:
        section = f"by {dimension_name(each.by, each.tag)}"
        yield from _lines(section, each.rows, each.tag)
        if each.rest is not None:
            yield {"section": section, "row": ValueKind.REST.value, **_figures(each.rest)}


def _lines(section: str, rows: Iterable[BreakdownRow], tag: str | None) -> Iterator[dict[str, CsvValue]]:
    for row in rows:
        kinds = {key.kind for key in row.keys}
        kind = next((each for each in (ValueKind.OTHER, ValueKind.VALUE) if each in kinds), ValueKind.NONE)
        yield {"section": section, "row": kind.value, **_values(row.keys, tag), **_figures(row.figures)}


def _values(keys: Iterable[DimensionValue], tag: str | None) -> dict[str, CsvValue]:
    found: dict[str, CsvValue] = {}
    for key in keys:
        name = "tag_value" if key.dimension is Dimension.TAG else key.dimension.value
        found[name] = f"({key.kind.value})" if key.kind is ValueKind.OTHER else key.value
    return found if tag is None else {"tag": tag, **found}


def _reconciliation(found: Statement) -> Iterator[dict[str, CsvValue]]:
    lines, section = found.reconciliation, {"section": "reconciliation"}
    yield {**section, "row": "usage", **_amount(lines.usage_micro_usd)}
    for line in lines.lines:
        yield {**section, "row": line.kind.value, "number": line.attempts, **_amount(line.amount_micro_usd)}
    yield {**section, "row": "posted", **_amount(lines.posted_micro_usd)}


def _amount(micro_usd: int) -> dict[str, CsvValue]:
    return {"amount_micro_usd": micro_usd, "amount_usd": micro_to_usd(micro_usd)}


def _figures(figures: UsageFigures) -> dict[str, CsvValue]:
    return dict(zip(FIGURES, figure_values(figures), strict=True))
