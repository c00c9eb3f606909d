"""A report as a mail: the rows of a breakdown as text, as a page, and as CSV. Pure."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from html import escape

from keyferry.contracts.analytics_answers import DimensionValue, UsageBreakdown, UsageFigures, ValueKind
from keyferry.contracts.credit import MICRO
from keyferry.contracts.csv_text import CsvValue
from keyferry.contracts.money import plain
from keyferry.contracts.usage_mail import ScheduledReport
from keyferry.contracts.usage_rows import breakdown_csv
from services.notifier.mail.message import Mail, MailAttachment, html_page
from services.notifier.reports.calendar import ReportPeriod

_HEADS = ("requests", "attempts", "failed", "tokens", "cost_usd", "spend_usd", "charge_usd")
_KINDS = {ValueKind.NONE: "(none)", ValueKind.OTHER: "(other)", ValueKind.REST: "(rest)"}


def report_mail(report: ScheduledReport, period: ReportPeriod, found: UsageBreakdown) -> Mail:
    """Return the mail of one period. Its figures are those of `keyferry usage` for the same span."""
    days = f"{period.first_day} to {period.last_day}" if period.first_day != period.last_day else f"{period.first_day}"
    head = report.tag or report.by.value
    table = [("", head, *_HEADS), *(_cells(label, figures) for label, figures in _lines(found))]
    rows = [line[1:] for line in table]
    title = f"Usage of {report.tenant} by {head}: {days}"
    notes = list(_notes(report, found))
    return Mail(
        subject=f"[{report.tenant}] {report.name}: {days}",
        text="\n".join([title, "", *_aligned(rows), "", *notes]),
        html=html_page(f"<h1>{escape(title)}</h1>{_table(rows)}" + "".join(f"<p>{escape(note)}</p>" for note in notes)),
        message_id=f"{report.report_id}.{period.start:%Y%m%dT%H%M}",
        attachments=(MailAttachment(f"usage-{period.first_day}.csv", "csv", breakdown_csv(found)),),
    )


def csv_of(mail: Mail) -> str:
    """Return the CSV that a report's mail has."""
    return mail.attachments[0].text


def _lines(found: UsageBreakdown) -> Iterator[tuple[str, UsageFigures]]:
    for row in found.rows:
        yield ", ".join(map(_label, row.keys)), row.figures
    if found.rest is not None:
        yield f"{found.rest_count} more", found.rest
    yield "total", found.total


def _label(key: DimensionValue) -> str:
    return _KINDS.get(key.kind) or key.value or "(none)"


def _amounts(figures: UsageFigures) -> tuple[CsvValue, ...]:
    spend = None if figures.spend_micro_usd is None else Decimal(figures.spend_micro_usd) / MICRO
    charge = Decimal(figures.charge_micro_usd) / MICRO
    counts = (figures.requests, figures.attempts, figures.failed, figures.total_tokens)
    return (*counts, figures.cost_usd, spend, charge)


def _cells(label: str, figures: UsageFigures) -> tuple[str, ...]:
    shown = (
        "unknown" if each is None else plain(each) if isinstance(each, Decimal) else str(each)
        for each in _amounts(figures)
    )
    return ("", label, *shown)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return ["  ".join(row) for row in padded]


def _table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f'<table border="1" cellpadding="4" style="border-collapse:collapse"><tr>{head}</tr>{body}</table>'


def _notes(report: ScheduledReport, found: UsageBreakdown) -> Iterator[str]:
    yield f"Days of {found.tz}. Costs are the providers' list prices; the spend is what counts in budgets."
    if found.total.unpriced:
        yield f"The cost of {found.total.unpriced} attempts is unknown; it is in none of the sums."
    if found.complete_until is None or found.complete_until < found.until:
        yield "Attempts of the end of the period may still be missing."
    yield f"This is the report {report.name} ({report.report_id}); your administrator can change or end it."
