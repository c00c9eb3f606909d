"""Answers of usage analytics: summary, series and breakdown."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.analytics import (
    AnalyticsQuery,
    BreakDownUsage,
    BucketLength,
    Dimension,
    ListSeries,
    ListTagNames,
    SummarizeAnalytics,
)
from keyferry.contracts.analytics_answers import (
    AnalyticsSummary,
    BreakdownRow,
    BucketSpan,
    DimensionValue,
    Percentiles,
    SeriesLine,
    TagName,
    TagNames,
    UsageBreakdown,
    UsageSeries,
    ValueKind,
)
from services.usage_ledger.analytics.figures import Sums, add_up, change_of, figures_of
from services.usage_ledger.analytics.periods import (
    Compared,
    QuarterSpan,
    are_days_of_utc,
    buckets,
    ceil_quarter,
    resolve,
)
from services.usage_ledger.analytics.query_sql import REST, RollupSelection, source_of
from services.usage_ledger.analytics.rollup_sql import OTHER, TAG_VALUES
from services.usage_ledger.analytics.snapshot import Key, RollupSnapshot, read_snapshot

OWNER = "CASE WHEN key_source IN ('byok', 'custom') THEN 'own' WHEN key_source = 'platform' THEN 'platform' ELSE '' END"
"""An expression: whether a rollup is of the tenant's own keys or of the platform's."""


@dataclass(frozen=True)
class Reading:
    """One snapshot, the span that is asked for, and what an answer says about both."""

    snapshot: RollupSnapshot
    compared: Compared
    about: dict[str, Any]

    @property
    def span(self) -> QuarterSpan:
        """The span that is asked for."""
        return self.compared.span


class UsageReports:
    """Answers from rollups. Methods raise DatabaseUnavailable, InvalidSpan and QueryTooLong."""

    def __init__(
        self, engine: AsyncEngine, clock: Callable[[], datetime], complete_until: Callable[[], datetime | None]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._complete_until = complete_until

    @asynccontextmanager
    async def reading(
        self, query: AnalyticsQuery, bucket: BucketLength = BucketLength.QUARTER_HOUR
    ) -> AsyncIterator[Reading]:
        """Provide one snapshot and the span of `query`."""
        # What is complete before the snapshot is taken is so in it.
        complete, now = self._complete_until(), self._clock().astimezone(UTC)
        async with read_snapshot(self._engine) as snapshot:
            recorded = await snapshot.recorded(query.tenant)
            if recorded is not None:
                end = ceil_quarter(now)
                recorded = QuarterSpan(min(recorded.since, end), max(recorded.until, end))
            compared = resolve(query, now, recorded)
            since, until = compared.span.bounds
            about = {"as_of": now, "tz": query.tz, "bucket": bucket, "complete_until": complete}
            yield Reading(snapshot, compared, about | {"since": since, "until": until})

    async def summarize(self, query: SummarizeAnalytics) -> AnalyticsSummary:
        """Return the totals of a span, and those of the span before."""
        selection = RollupSelection.of(query)
        async with self.reading(query) as reading:
            by_owner, latency = await self._summarize(reading.snapshot, selection, reading.span)
            total = figures_of(add_up(by_owner.values()), **latency)
            answer: dict[str, Any] = {
                "total": total,
                "own_keys": figures_of(by_owner.get("own", Sums())),
                "platform_keys": figures_of(by_owner.get("platform", Sums())),
            }
            if (previous := reading.compared.previous) is not None:
                earlier, latency = await self._summarize(reading.snapshot, selection, previous)
                before = figures_of(add_up(earlier.values()), **latency)
                answer |= {"previous": before, "change": change_of(total, before)}
                answer |= dict(zip(("previous_since", "previous_until"), previous.bounds, strict=True))
            return AnalyticsSummary(**reading.about, **answer)

    async def _summarize(
        self, snapshot: RollupSnapshot, selection: RollupSelection, span: QuarterSpan
    ) -> tuple[dict[str, Sums], dict[str, Percentiles]]:
        source = source_of(selection, span, whole_days=True)
        by_owner = await snapshot.totals_by(source, OWNER)
        found = await snapshot.percentiles(source, (), {}, only_completed=Dimension.OUTCOME not in selection.filters)
        return by_owner, {name: each[()] for name, each in found.items() if () in each}

    async def list_series(self, query: ListSeries) -> UsageSeries:
        """Return usage over time, in as many lines as are asked for and one for the rest."""
        async with self.reading(query, query.bucket) as reading:
            lines_asked = 1 if query.by is None else query.lines + 1
            spans = buckets(reading.span, query.bucket, ZoneInfo(query.tz), lines_asked)
            selection = RollupSelection.of(query, () if query.by is None else (query.by,), query.tag)
            keys, count = await self._lines(reading, selection, query)
            source = source_of(selection, reading.span, whole_days=are_days_of_utc(spans))
            starts = [span.since for span in spans]
            found = await reading.snapshot.series(source, query.by, keys, starts) if spans else {}
            if source.only_tagged:
                await self._add_untagged(reading, selection, starts, found)
            only_completed = Dimension.OUTCOME not in query.filters
            sketches = {}
            if query.percentiles and spans:
                sketches = await reading.snapshot.line_percentiles(
                    source, query.by, keys, starts, only_completed=only_completed
                )
            lines = []
            for key in (*keys, REST) if query.by else ("",):
                sums = [found.get((key, position), Sums()) for position in range(len(spans))]
                total = add_up(sums)
                if key == REST and not total["attempts"] and not total["requests"]:
                    continue
                points = [
                    figures_of(each, **_percentiles(sketches, (key, str(position))))
                    for position, each in enumerate(sums)
                ]
                values_count = max(count - len(keys), 1) if key == REST else 1
                named = None if query.by is None else dimension_value(query.by, key)
                lines.append(SeriesLine(key=named, values_count=values_count, total=figures_of(total), points=points))
            limits = [BucketSpan(start=span.bounds[0], end=span.bounds[1]) for span in spans]
            return UsageSeries(**reading.about, buckets=limits, lines=lines)

    async def _lines(self, reading: Reading, selection: RollupSelection, query: ListSeries) -> tuple[list[str], int]:
        if query.by is None:
            return [], 0
        source = source_of(selection, reading.span, whole_days=True)
        groups, count = await reading.snapshot.groups(source, (query.by,), query.sort, query.lines)
        return [key for (key,), _ in groups], count

    async def _add_untagged(
        self, reading: Reading, selection: RollupSelection, starts: Sequence[int], found: dict[tuple[str, int], Sums]
    ) -> None:
        """Add to the rest the attempts without the tag, which have no rollup of it."""
        source = source_of(_without_tag(selection), reading.span, whole_days=False)
        for (_, position), sums in (await reading.snapshot.series(source, None, (), starts)).items():
            tagged = add_up(each for (_, place), each in found.items() if place == position)
            rest = sums.plus(tagged, -1).plus(found.get((REST, position), Sums()))
            found[REST, position] = rest

    async def break_down(self, query: BreakDownUsage) -> UsageBreakdown:
        """Return the greatest values of dimensions, and what is left."""
        by = tuple(query.by)
        selection = RollupSelection.of(query, by, query.tag)
        async with self.reading(query) as reading:
            snapshot = reading.snapshot
            source = source_of(selection, reading.span, whole_days=True)
            groups, count = await snapshot.groups(source, by, query.sort, query.limit)
            total = among_groups = await snapshot.total(source)
            if source.only_tagged:
                total = await snapshot.total(source_of(_without_tag(selection), reading.span, whole_days=True))
                if by == (Dimension.TAG,) and (untagged := total.plus(among_groups, -1))["attempts"]:
                    groups, count = _with_untagged(query, groups, untagged), count + 1
                among_groups = total
            only_completed = Dimension.OUTCOME not in query.filters
            sketches = {}
            if query.percentiles:
                keys_shown = [keys for keys, _ in groups]
                sketches = await snapshot.group_percentiles(source, by, keys_shown, only_completed=only_completed)
            rows = [
                BreakdownRow(
                    keys=[dimension_value(dimension, key) for dimension, key in zip(by, keys, strict=True)],
                    figures=figures_of(sums, **_percentiles(sketches, keys)),
                )
                for keys, sums in groups
            ]
            rest = among_groups.plus(add_up(sums for _, sums in groups), -1)
            has_rest = bool(rest["attempts"] or rest["requests"])
            return UsageBreakdown(
                **reading.about,
                by=list(by),
                tag=query.tag,
                rows=rows,
                rest_count=max(count - len(groups), 0),
                rest=figures_of(rest) if has_rest else None,
                total=figures_of(total),
            )

    async def list_tag_names(self, query: ListTagNames) -> TagNames:
        """Return the names of tags, most frequent first."""
        async with self.reading(query) as reading:
            tenant = "" if query.tenant is None else " AND r.tenant = :tenant"
            sql = f"""
            SELECT tag_name, sum(attempts)::bigint AS attempts FROM usage_rollups AS r JOIN usage_values USING (values_id)
            WHERE grain = {TAG_VALUES} AND bucket >= :since AND bucket < :until{tenant}
            GROUP BY 1 HAVING sum(attempts) > 0 ORDER BY 2 DESC, 1 LIMIT :limit"""  # noqa: S608
            values = {
                "since": reading.span.since,
                "until": reading.span.until,
                "tenant": query.tenant,
                "limit": _MAX_NAMES,
            }
            rows = await reading.snapshot.rows(sql, values)
            names = [
                TagName(name=None if row["tag_name"] == OTHER else row["tag_name"], attempts=row["attempts"])
                for row in rows
            ]
            return TagNames(**reading.about, names=names)


_MAX_NAMES = 500


def _with_untagged(query: BreakDownUsage, groups: list[tuple[Key, Sums]], untagged: Sums) -> list[tuple[Key, Sums]]:
    """Return the greatest groups, with that of the attempts without the tag, which have no rollup of it, among them."""
    both = [*groups, (("",), untagged)]
    return sorted(both, key=lambda group: group[1].measure(query.sort), reverse=True)[: query.limit]


def _without_tag(selection: RollupSelection) -> RollupSelection:
    by = tuple(each for each in selection.by if each is not Dimension.TAG)
    return RollupSelection(selection.tenant, selection.filters, {}, by, None)


def _percentiles(
    sketches: dict[str, dict[tuple[str, ...], Percentiles]], key: tuple[str, ...]
) -> dict[str, Percentiles]:
    return {name: each[key] for name, each in sketches.items() if key in each}


def dimension_value(dimension: Dimension, key: str) -> DimensionValue:
    """Return what a key of the database stands for."""
    kind = {"": ValueKind.NONE, OTHER: ValueKind.OTHER, REST: ValueKind.REST}.get(key, ValueKind.VALUE)
    return DimensionValue(dimension=dimension, kind=kind, value=key if kind is ValueKind.VALUE else None)
