"""Usage that somebody has pasted as CSV, from a provider's page or an invoice.

Columns are recognised by their names, in any order and case; others are left out. Without a column of days the whole span is
compared, without one of models all models together. Each line that cannot be read is named with what is wrong. Pure.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from keyferry.contracts.money import usd
from keyferry.contracts.reconciliation import MAX_CSV_LINES
from keyferry.contracts.text import clean, parse_digits
from services.billing.provider_usage.stated_usage import StatedUsage, merge_stated
from services.billing.provider_usage.usage_api import UsageSpan

MOST_PROBLEMS = 10
_MOST_COLUMNS = 100
_NAME_CHARACTERS = 200
_SEPARATORS = (",", ";", "\t")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_AMOUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,12})?")
DAY, MODEL, REQUESTS, PROMPT, COMPLETION, COST = (
    "day",
    "model",
    "requests",
    "prompt tokens",
    "completion tokens",
    "cost",
)
_ADDED_UP = frozenset({PROMPT})
"""Of which several columns may each have a part."""
COLUMNS = {
    DAY: ("day", "date", "date_utc", "usage_date", "usage_date_utc", "start_time", "timestamp"),
    MODEL: ("model", "model_name", "model_id", "model_version", "line_item", "description"),
    REQUESTS: ("requests", "request_count", "num_model_requests", "n_requests", "num_requests"),
    PROMPT: (
        *("prompt_tokens", "input_tokens", "n_context_tokens_total", "usage_input_tokens_no_cache"),
        *("usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h", "usage_input_tokens_cache_read"),
    ),
    COMPLETION: ("completion_tokens", "output_tokens", "n_generated_tokens_total", "usage_output_tokens"),
    COST: ("cost", "cost_usd", "cost_in_usd", "amount", "amount_usd", "amount_value", "total", "total_usd", "usage"),
}
"""By what a column is for, the names by which it is recognised; characters other than letters and digits count as `_`."""


class UnreadableCsv(ValueError):
    """The CSV cannot be compared. The message names the lines at fault, and may be shown."""


@dataclass(slots=True)
class _Reading:
    columns: dict[str, list[int]]
    span: UsageSpan
    found: list[StatedUsage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    outside: int = 0


def read_csv(text: str, span: UsageSpan) -> list[StatedUsage]:
    """Return what the CSV says of a span, one statement per day and model. Raises UnreadableCsv."""
    lines = _read_lines(text.removeprefix("\ufeff"))
    number, header = next(lines, (0, []))
    reading = _Reading(_recognise(header, number), span)
    for number, cells in lines:
        if number > MAX_CSV_LINES:
            raise UnreadableCsv(f"the CSV has more than {MAX_CSV_LINES} lines: compare fewer days at once")
        if any(cell.strip() for cell in cells):
            _read_line(reading, number, cells)
        if len(reading.problems) >= MOST_PROBLEMS:
            break
    if reading.problems:
        raise UnreadableCsv("; ".join(reading.problems))
    if not reading.found:
        outside = f" ({reading.outside} lines are of other days)" if reading.outside else ""
        raise UnreadableCsv(f"the CSV has no line from {span.since} to {span.until}{outside}")
    return merge_stated(reading.found)


def _read_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    first = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UnreadableCsv(f"line {reader.line_num}: {error}") from None
        yield reader.line_num, cells


def _recognise(header: list[str], number: int) -> dict[str, list[int]]:
    if len(header) > _MOST_COLUMNS:
        raise UnreadableCsv(f"line {number}: more than {_MOST_COLUMNS} columns")
    names = [_NOT_IN_NAMES.sub("_", name.strip().lower()).strip("_") for name in header]
    columns: dict[str, list[int]] = {}
    for purpose, known in COLUMNS.items():
        places = [place for place, name in enumerate(names) if name in known]
        if len(places) > 1 and purpose not in _ADDED_UP:
            shown = ", ".join(clean(header[place], 40) for place in places)
            raise UnreadableCsv(f"line {number}: several columns may be the {purpose}: {shown}; leave one of them")
        if places:
            columns[purpose] = places
    if not {PROMPT, COMPLETION, COST} & columns.keys():
        raise UnreadableCsv(
            f"line {number}: want a first line with the names of the columns, among them one of cost, input_tokens and"
            " output_tokens; others are date, model and requests"
        )
    return columns


def _read_line(reading: _Reading, number: int, cells: list[str]) -> None:
    try:
        if len(cells) <= max(place for places in reading.columns.values() for place in places):
            raise ValueError(f"{len(cells)} columns are fewer than the first line has")
        stated = StatedUsage(
            day=_day(reading, cells),
            model=_model(reading, cells),
            requests=_count(reading, cells, REQUESTS),
            prompt_tokens=_count(reading, cells, PROMPT),
            completion_tokens=_count(reading, cells, COMPLETION),
            cost_usd=_cost(reading, cells),
        )
    except ValueError as error:
        reading.problems.append(f"line {number}: {error}")
        return
    if stated.day is not None and not reading.span.since <= stated.day <= reading.span.until:
        reading.outside += 1
    else:
        reading.found.append(stated)


def _day(reading: _Reading, cells: list[str]) -> date | None:
    for place in reading.columns.get(DAY, ()):
        try:
            return date.fromisoformat(cells[place].strip()[:10])
        except ValueError:
            raise ValueError("the day is not written as 2026-11-30") from None
    return None


def _model(reading: _Reading, cells: list[str]) -> str | None:
    for place in reading.columns.get(MODEL, ()):
        if not cells[place].strip():
            raise ValueError("the model is missing")
        return clean(cells[place].strip(), _NAME_CHARACTERS)
    return None


def _count(reading: _Reading, cells: list[str], purpose: str) -> int | None:
    places = reading.columns.get(purpose)
    if places is None:
        return None
    total = 0
    for place in places:
        text = cells[place].strip()
        count = parse_digits(text) if text else 0
        if count is None:
            raise ValueError(f"the {purpose} are not a whole number without separators")
        total += count
    return total


def _cost(reading: _Reading, cells: list[str]) -> Decimal | None:
    for place in reading.columns.get(COST, ()):
        text = cells[place].strip().removeprefix("$").strip()
        if not _AMOUNT.fullmatch(text):
            raise ValueError("the cost is not an amount in dollars with a decimal point, as 1234.56")
        return usd(text)
    return None
