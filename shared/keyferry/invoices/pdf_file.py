"""A statement as a PDF. Import it where a file is made, not before: the library that draws takes a tenth of a second to load."""

import threading
from collections.abc import Sequence

from keyferry.contracts.analytics_answers import BreakdownRow, UsageFigures
from keyferry.contracts.statements import Statement
from keyferry.contracts.usage_rows import dimension_name
from keyferry.invoices.pages import Column, Pages
from keyferry.invoices.words import (
    ENTRY_WORDS,
    RECONCILIATION_WORDS,
    STATE_WORDS,
    cost_text,
    dollars,
    local_time,
    value_text,
)

_LOCK = threading.Lock()
"""Fonts are shared by all documents of the process, so one is drawn at a time."""
_COUNTS = (
    *("requests", "attempts", "input", "cached", "written", "output", "reasoning"),
    *("audio, image", "provider cost $", "charge $"),
)
_FIGURE_COLUMNS = tuple(Column(head, 1.5 if "$" in head else 1.0, is_number=True) for head in _COUNTS)
_AMOUNTS = (Column("", 4), Column("number", 1, is_number=True), Column("$", 1.4, is_number=True))
_EXACT = (
    "Amounts are exact: charges are whole micro-dollars, rounded once for each attempt; nothing in this statement is rounded."
    " A thousand credits are one dollar."
)
_TOKENS = (
    "Tokens are counted once each: the columns are disjoint. `written` are writes to a prompt cache. Provider costs are list"
    " prices; with your own keys they are an estimate, and the provider bills them to you. `+` marks a sum without attempts of"
    " unknown cost."
)
_TIMES = (
    "Requests and attempts count in the month in which they began, transfers in the one in which they were posted. A request of"
    " several attempts counts once, under its first."
)


def statement_pdf(found: Statement) -> bytes:
    """Return a statement as PDF, which may take seconds for thousands of lines: call it in a thread."""
    with _LOCK:
        return _draw(found)


def _draw(found: Statement) -> bytes:
    title = f"Statement {found.month} · {found.tenant_name}"
    pages = Pages(title, f"Keyferry · {found.tenant} · {found.month} · {found.fingerprint[:16]}")
    pages.title(title)
    span = f"{local_time(found.since, found.tz)} until {local_time(found.until, found.tz)} ({found.tz})"
    pages.note(f"Tenant {found.tenant}, {span}: {STATE_WORDS[found.state]}.")
    _draw_account(pages, found)
    _draw_reconciliation(pages, found)
    _draw_lines(pages, found)
    for each in found.breakdowns:
        pages.heading(f"By {dimension_name(each.by, each.tag).replace('_', ' ')}")
        rest = [] if each.rest is None else [_row([f"{each.rest_count} others"], each.rest)]
        total = _row(["total"], found.total)
        rows = [*_rows(each.rows), *rest, total]
        pages.table((Column("", 3), *_FIGURE_COLUMNS), rows, totals=1)
    pages.heading("Notes")
    for note in (_EXACT, _TOKENS, _TIMES):
        pages.note(note)
    return pages.finish()


def _draw_account(pages: Pages, found: Statement) -> None:
    account = found.account
    pages.heading("Credits, in dollars")
    rows = [["Opening balance", "", dollars(account.opening_micro_usd)]]
    rows += [[ENTRY_WORDS[each.kind], f"{each.transfers:,}", dollars(each.amount_micro_usd)] for each in account.sums]
    rows.append(["Closing balance", "", dollars(account.closing_micro_usd)])
    pages.table(_AMOUNTS, rows, totals=1)
    if not account.entries:
        return
    pages.heading("Credits one by one")
    columns = (Column("at", 2), Column("kind", 2), Column("reason", 4), Column("source", 3), Column("$", 1.4, True))
    entries = [
        [
            local_time(entry.at, found.tz),
            entry.kind.value,
            entry.reason or "",
            f"{entry.source} {entry.source_id}" if entry.source else entry.actor or "",
            dollars(entry.amount_micro_usd),
        ]
        for entry in account.entries
    ]
    pages.table(columns, entries)
    if account.entries_left_out:
        pages.note(f"{account.entries_left_out:,} more are in the sums above.")


def _draw_reconciliation(pages: Pages, found: Statement) -> None:
    lines = found.reconciliation
    pages.heading("From usage to posted charges, in dollars")
    rows = [["Charges of the attempts that began in this month", "", dollars(lines.usage_micro_usd)]]
    for line in lines.lines:
        number = f"{line.attempts:,}" if line.attempts else ""
        rows.append([RECONCILIATION_WORDS[line.kind], number, dollars(line.amount_micro_usd)])
    rows.append(["Charges and corrections posted in this month", "", dollars(lines.posted_micro_usd)])
    pages.table(_AMOUNTS, rows, totals=1)


def _draw_lines(pages: Pages, found: Statement) -> None:
    pages.heading("Usage")
    names = [dimension_name(each, found.tag).replace("_", " ") for each in found.by]
    blank = [""] * (len(names) - 1)
    rows = _rows(found.lines)
    if found.rest is not None:
        rows.append(_row([f"{found.lines_left_out:,} other lines", *blank], found.rest))
    rows += [
        _row(["own keys, billed by the provider", *blank], found.own_keys),
        _row(["platform keys", *blank], found.platform_keys),
        _row(["total", *blank], found.total),
    ]
    pages.table((*(Column(name, 1.6) for name in names), *_FIGURE_COLUMNS), rows, totals=3)


def _rows(rows: Sequence[BreakdownRow]) -> list[list[str]]:
    return [_row([value_text(key) for key in row.keys], row.figures) for row in rows]


def _row(names: Sequence[str], figures: UsageFigures) -> list[str]:
    tokens = figures.token_usage
    media = tokens.audio + tokens.image + tokens.audio_output + tokens.image_output
    counts = (
        *(figures.requests, figures.attempts, tokens.input, tokens.cached_read),
        *(tokens.cache_write + tokens.cache_write_1h, tokens.output, tokens.reasoning, media),
    )
    return [*names, *(f"{count:,}" for count in counts), cost_text(figures), dollars(figures.charge_micro_usd)]
