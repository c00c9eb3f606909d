"""Answers of usage analytics as rows for spreadsheets: amounts exact, times with the offset of the zone.

The rows of a breakdown, without the one called `total`, add up to that one; those of a series to the span. What is computed in
micro-dollars has a column of integers beside the one of decimal dollars; what a provider takes is exact in dollars alone,
because rounded amounts would not add up. Pure.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from keyferry.contracts.analytics import Dimension
from keyferry.contracts.analytics_answers import (
    DimensionValue,
    Percentiles,
    UsageBreakdown,
    UsageFigures,
    UsageSeries,
    ValueKind,
)
from keyferry.contracts.csv_text import CsvValue, csv_text
from keyferry.contracts.usage import Outcome, TokenUsage

_TOKEN_KINDS = tuple(TokenUsage.model_fields)
_PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")
_MICRO_PLACES = 6
FIGURES = (
    *("requests", "attempts", *(outcome.value for outcome in Outcome)),
    *(f"{kind}_tokens" for kind in _TOKEN_KINDS),
    *("total_tokens", "cost_usd", "unpriced", "charge_micro_usd", "charge_usd", "charged"),
    *("absorbed_micro_usd", "absorbed_usd", "spend_micro_usd", "spend_usd", "spend_unknown"),
)
"""The columns of figures, in the order of the file."""
PERCENTILE_COLUMNS = tuple(f"{name}_{each}" for name in ("latency", "first_token") for each in _PERCENTILES)


def breakdown_csv(found: UsageBreakdown) -> str:
    """Return a breakdown as CSV: its rows, the rest if there is one, and the total."""
    zone = ZoneInfo(found.tz)
    span = (_local(found.since, zone), _local(found.until, zone))
    has_percentiles = _has_percentiles([row.figures for row in found.rows])
    dimensions = [dimension_name(each, found.tag) for each in found.by]
    head = ("since", "until", "row", *dimensions, *FIGURES, *(PERCENTILE_COLUMNS if has_percentiles else ()))
    rows: list[Sequence[CsvValue]] = [head]
    for row in found.rows:
        values = map(_value, row.keys)
        rows.append((*span, kind_of(row.keys), *values, *figure_values(row.figures, has_percentiles)))
    blank = [None] * len(dimensions)
    if found.rest is not None:
        rows.append((*span, ValueKind.REST.value, *blank, *figure_values(found.rest, has_percentiles)))
    rows.append((*span, "total", *blank, *figure_values(found.total, has_percentiles)))
    return csv_text(rows)


def series_csv(found: UsageSeries) -> str:
    """Return a series as CSV: a row for each bucket of each line."""
    zone = ZoneInfo(found.tz)
    points = [point for line in found.lines for point in line.points]
    has_percentiles = _has_percentiles(points)
    dimension = next((line.key.dimension.value for line in found.lines if line.key is not None), None)
    named = () if dimension is None else (dimension,)
    head = ("since", "until", "row", *named, *FIGURES, *(PERCENTILE_COLUMNS if has_percentiles else ()))
    rows: list[Sequence[CsvValue]] = [head]
    for line in found.lines:
        kind = ValueKind.VALUE.value if line.key is None else line.key.kind.value
        value = () if line.key is None else (_value(line.key),)
        for bucket, point in zip(found.buckets, line.points, strict=True):
            span = (_local(bucket.start, zone), _local(bucket.end, zone))
            rows.append((*span, kind, *value, *figure_values(point, has_percentiles)))
    return csv_text(rows)


def dimension_name(dimension: Dimension, tag: str | None) -> str:
    """Return the name of a column of values."""
    return f"tag:{tag}" if dimension is Dimension.TAG and tag is not None else dimension.value


def kind_of(keys: Sequence[DimensionValue]) -> str:
    """Return what a row stands for: `none` if it has no value in any dimension, `other` if values are put together in it."""
    kinds = {key.kind for key in keys}
    if ValueKind.OTHER in kinds:
        return ValueKind.OTHER.value
    return ValueKind.NONE.value if kinds == {ValueKind.NONE} else ValueKind.VALUE.value


def micro_to_usd(amount: int | None) -> Decimal | None:
    """Return micro-dollars as dollars, exactly."""
    return None if amount is None else Decimal(amount).scaleb(-_MICRO_PLACES)


def _value(key: DimensionValue) -> CsvValue:
    return f"({key.kind.value})" if key.kind in (ValueKind.OTHER, ValueKind.REST) else key.value


def _has_percentiles(all_figures: Sequence[UsageFigures]) -> bool:
    return any(figures.latency is not None or figures.first_token is not None for figures in all_figures)


def figure_values(figures: UsageFigures, has_percentiles: bool = False) -> Iterator[CsvValue]:
    """Yield the figures in the order of their columns."""
    tokens = figures.token_usage.model_dump()
    for name in FIGURES:
        if name.removesuffix("_tokens") in tokens:
            yield tokens[name.removesuffix("_tokens")]
        elif name.endswith("_usd") and name != "cost_usd" and "_micro_" not in name:
            yield micro_to_usd(getattr(figures, name.replace("_usd", "_micro_usd")))
        else:
            yield getattr(figures, name)
    if has_percentiles:
        yield from _percentiles(figures.latency)
        yield from _percentiles(figures.first_token)


def _percentiles(found: Percentiles | None) -> list[int | None]:
    return [None if found is None else getattr(found, name) for name in _PERCENTILES]


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).isoformat()
