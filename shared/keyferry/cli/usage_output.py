"""Answers of usage analytics as tables for people: amounts to the micro-dollar, and what is not known as unknown. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from keyferry.cli.terminal import format_days, format_table
from keyferry.contracts.analytics import BucketLength
from keyferry.contracts.analytics_answers import (
    AnalyticsAnswer,
    DimensionValue,
    ForecastRange,
    Percentiles,
    TagNames,
    UsageBreakdown,
    UsageFigures,
    UsageForecast,
    UsageSavings,
    UsageSeries,
    ValueKind,
)
from keyferry.contracts.usage_rows import dimension_name, micro_to_usd

_FIGURES = ("REQUESTS", "ATTEMPTS", "FAILED", "TOKENS", "COST", "CHARGE", "SPEND")
_LATENCY = ("ATTEMPTS", "P50", "P95", "P99", "FIRST TOKEN P50", "P95", "P99")
_MICRO_DOLLAR = Decimal("0.000001")
_CENT_PLACES = 2
_NOTHING = "nothing was used"
_FORMATS = {BucketLength.DAY: "%Y-%m-%d %a", BucketLength.WEEK: "%Y-%m-%d", BucketLength.MONTH: "%Y-%m"}
_UNKNOWN_COST = "no price for the model, or unknown usage"


def format_breakdown(found: UsageBreakdown, tenant: str) -> list[str]:
    """Return the table of a breakdown, with its total, and what to know about it."""
    heads = [*_heads(found), *_FIGURES]
    rows = [(*map(_label, row.keys), *_cells(row.figures)) for row in found.rows]
    dimensions = len(found.by)
    if found.rest is not None:
        more = f"({found.rest_count} more)" if found.rest_count else "(rest)"
        rows.append((more, *[""] * (dimensions - 1), *_cells(found.rest)))
    if rows:
        rows.append(("total", *[""] * (dimensions - 1), *_cells(found.total)))
    table = _table(heads, rows, labels=dimensions)
    return [title_of(found, tenant), table, *_notes(found, [found.total])]


def format_series(found: UsageSeries, tenant: str) -> list[str]:
    """Return the table of a series: a row for each bucket of each line, and a total."""
    zone = ZoneInfo(found.tz)
    is_split = any(line.key is not None for line in found.lines)
    heads = [found.bucket.value.upper(), *([_dimension_head(found)] if is_split else []), *_FIGURES]
    rows: list[tuple[str, ...]] = []
    for position, bucket in enumerate(found.buckets):
        when = _bucket_name(bucket.start, found.bucket, zone)
        for line in found.lines:
            if is_split and not line.points[position].attempts:
                continue
            label = [] if line.key is None else [_label(line.key)]
            rows.append((when, *label, *_cells(line.points[position])))
    for line in found.lines if rows else ():
        rows.append(("total", *([] if line.key is None else [_label(line.key)]), *_cells(line.total)))
    table = _table(heads, rows, labels=1 + is_split)
    return [title_of(found, tenant), table, *_notes(found, [line.total for line in found.lines])]


def format_latency(found: UsageBreakdown, tenant: str) -> list[str]:
    """Return the table of percentiles."""
    rows = []
    for row in found.rows:
        counted = row.figures.latency
        count = "0" if counted is None else str(counted.count)
        rows.append((*map(_label, row.keys), count, *_durations(counted), *_durations(row.figures.first_token)))
    table = _table([*_heads(found), *_LATENCY], rows, labels=len(found.by))
    note = "of completed attempts, in milliseconds, within 1 %; the first token only of streamed answers"
    return [title_of(found, tenant), table, *([note] if rows else []), *moments_of(found)]


def format_errors(found: UsageBreakdown, tenant: str) -> list[str]:
    """Return the table of errors, and the share of attempts that failed."""
    failed = [row for row in found.rows if row.figures.failed]
    rows = [
        (*map(_label, row.keys), str(row.figures.failed), format_share(row.figures.failed, found.total.attempts))
        for row in failed
    ]
    table = _table([*_heads(found), "FAILED", "OF ALL ATTEMPTS"], rows, labels=len(found.by), empty="nothing failed")
    total = found.total
    share = f" ({format_share(total.failed, total.attempts)})" if total.attempts else ""
    last = f"{total.failed} of {format_count(total.attempts, 'attempt')} failed{share}"
    if total.indeterminate:
        last += f"; of {total.indeterminate} the end is unknown"
    return [title_of(found, tenant), table, last, *moments_of(found)]


def format_savings(found: UsageSavings, tenant: str) -> list[str]:
    """Return what was saved, as sentences with the amounts."""
    lines = [
        title_of(found, tenant),
        f"{format_count(found.own_key_attempts, 'attempt')} on own keys and servers",
        f"  providers charged for them  {format_amount(found.own_cost_usd)}",
        f"  fee of the platform         {format_amount(micro_to_usd(found.own_fee_micro_usd))}",
        f"  the platform's price        {format_amount(found.platform_price_usd)}",
        f"  saved                       {format_amount(found.saved_usd)}",
    ]
    if found.uncounted:
        lines.append(f"  without {format_count(found.uncounted, 'attempt')} of unknown cost: {_UNKNOWN_COST}")
    if found.baseline_price_version is not None:
        compared = format_count(found.baseline_attempts, "attempt")
        lines += [
            f"{compared} on any key, with the baseline model instead (prices {found.baseline_price_version})",
            f"  would have cost             {format_amount(found.baseline_cost_usd)}",
            f"  saved                       {format_amount(found.baseline_saved_usd)}",
        ]
    return [*lines, "these are estimates, by list prices", *moments_of(found)]


def format_forecast(found: UsageForecast, tenant: str) -> list[str]:
    """Return the table of a forecast."""
    month = found.since.astimezone(ZoneInfo(found.tz)).strftime("%Y-%m")
    ranges = (("spend", found.spend), ("charge", found.charge), ("cost", found.cost))
    rows = [(name, *_range(each)) for name, each in ranges]
    based = f"from {format_days(found.days_seen)} before today" if found.days_seen else "not one whole day was seen yet"
    lines = [
        f"{tenant}, {month} ({found.tz}), {based}",
        _table(("", "SO FAR", "LOW", "LIKELY", "HIGH"), rows, labels=1),
    ]
    if any(each is not None for _, each in ranges):
        lines.append("four of five months end between low and high, if days vary as before")
    if found.unknown:
        lines.append(f"without {format_count(found.unknown, 'attempt')} of unknown cost: {_UNKNOWN_COST}")
    return [*lines, *moments_of(found)]


def format_tags(found: TagNames, tenant: str) -> list[str]:
    """Return the names of tags."""
    rows = [("(other)" if each.name is None else each.name, str(each.attempts)) for each in found.names]
    return [title_of(found, tenant), _table(("TAG", "ATTEMPTS"), rows, labels=1, empty="no tags"), *moments_of(found)]


def format_amount(amount: Decimal | None) -> str:
    """Return dollars to the micro-dollar with at least two places, or `unknown`; what is not 0 is never shown as 0."""
    if amount is None:
        return "unknown"
    rounded = amount.quantize(_MICRO_DOLLAR, ROUND_HALF_UP)
    if amount and not rounded:
        return "<$0.000001" if amount > 0 else ">-$0.000001"
    whole, _, places = f"{abs(rounded):f}".partition(".")
    return f"{'-' if rounded < 0 else ''}${int(whole):,}.{places.rstrip('0').ljust(_CENT_PLACES, '0')}"


def format_share(part: int, whole: int) -> str:
    """Return a share in percent to one place; a share that is neither none nor all is shown as neither."""
    if not whole:
        return "-"
    permille = (part * 1000 + whole // 2) // whole
    if part and not permille:
        return "<0.1 %"
    if part < whole and permille == 1000:
        return ">99.9 %"
    return f"{permille // 10}.{permille % 10} %"


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def align(lines: Sequence[Sequence[str]], labels: int) -> list[list[str]]:
    """Return lines whose cells after the labels are aligned at the right of their column."""
    cells = [list(line) for line in lines]
    for column in range(labels, len(cells[0])):
        width = max(len(line[column]) for line in cells)
        for line in cells:
            line[column] = line[column].rjust(width)
    return cells


def title_of(found: AnalyticsAnswer, whose: str) -> str:
    """Return whose usage it is, and of which span."""
    zone = ZoneInfo(found.tz)
    return f"{whose}, {_local(found.since, zone)} to {_local(found.until, zone)} ({found.tz})"


def is_final(found: AnalyticsAnswer) -> bool:
    """Return whether every attempt of the span is recorded."""
    return found.complete_until is not None and found.complete_until >= min(found.until, found.as_of)


def moments_of(found: AnalyticsAnswer) -> Iterator[str]:
    """Yield of when the answer is, and whether records are still to come."""
    zone = ZoneInfo(found.tz)
    complete = found.complete_until
    if is_final(found):
        yield f"as of {_local(found.as_of, zone, seconds=True)}"
        return
    missing = (
        "some attempts" if complete is None else f"attempts that began after {_local(complete, zone, seconds=True)}"
    )
    yield f"as of {_local(found.as_of, zone, seconds=True)}; {missing} may not be recorded yet"


def _cells(figures: UsageFigures) -> tuple[str, ...]:
    failed = f"{figures.failed} ({format_share(figures.failed, figures.attempts)})" if figures.failed else "0"
    charge = micro_to_usd(figures.charge_micro_usd) if figures.charged or not figures.attempts else None
    return (
        f"{figures.requests:,}",
        f"{figures.attempts:,}",
        failed,
        f"{figures.total_tokens:,}",
        _with_unknown(figures.cost_usd, figures.unpriced),
        "-" if charge is None else format_amount(charge),
        _with_unknown(micro_to_usd(figures.spend_micro_usd), figures.spend_unknown),
    )


def _with_unknown(amount: Decimal | None, unknown: int) -> str:
    return f"{format_amount(amount)} + {unknown} unknown" if unknown and amount is not None else format_amount(amount)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, labels: int, empty: str = _NOTHING) -> str:
    """Return a table whose columns after the labels are aligned at the right."""
    lines = align([heads, *rows], labels)
    return format_table(lines[0], lines[1:], empty=empty)


def _notes(found: AnalyticsAnswer, totals: Sequence[UsageFigures]) -> Iterator[str]:
    unpriced = sum(total.unpriced for total in totals)
    if unpriced:
        yield f"the cost of {format_count(unpriced, 'attempt')} is unknown: {_UNKNOWN_COST}"
    yield from moments_of(found)


def _heads(found: UsageBreakdown) -> list[str]:
    return [dimension_name(each, found.tag).replace("_", " ").upper() for each in found.by]


def _dimension_head(found: UsageSeries) -> str:
    return next(line.key.dimension.value for line in found.lines if line.key).replace("_", " ").upper()


def _label(key: DimensionValue) -> str:
    return key.value or "(empty)" if key.kind is ValueKind.VALUE else f"({key.kind.value})"


def _bucket_name(start: datetime, bucket: BucketLength, zone: ZoneInfo) -> str:
    local = start.astimezone(zone)
    form = _FORMATS.get(bucket)
    # Two hours of the day on which clocks are put back have the same name.
    return local.strftime(form) if form is not None else local.isoformat(sep=" ", timespec="minutes")


def _local(moment: datetime, zone: ZoneInfo, *, seconds: bool = False) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def _durations(found: Percentiles | None) -> tuple[str, str, str]:
    return ("-", "-", "-") if found is None else (f"{found.p50_ms:,}", f"{found.p95_ms:,}", f"{found.p99_ms:,}")


def _range(found: ForecastRange | None) -> tuple[str, ...]:
    if found is None:
        return ("unknown",) * 4
    amounts = (found.so_far_micro_usd, found.low_micro_usd, found.likely_micro_usd, found.high_micro_usd)
    return tuple(format_amount(micro_to_usd(amount)) for amount in amounts)
