"""Reading what was used in a month: the lines and the breakdowns of a statement, each of which makes the same total."""

from collections.abc import Sequence
from dataclasses import dataclass

from keyferry.contracts.analytics import Dimension, Measure
from keyferry.contracts.analytics_answers import BreakdownRow
from keyferry.contracts.statements import (
    MAX_STATEMENT_LINES,
    MAX_STATEMENT_ROWS,
    MAX_STATEMENT_TAGS,
    StatementBreakdown,
)
from services.usage_ledger.analytics.figures import Sums, add_up, figures_of
from services.usage_ledger.analytics.periods import QuarterSpan
from services.usage_ledger.analytics.query_sql import RollupSelection, source_of
from services.usage_ledger.analytics.reports import OWNER, dimension_value
from services.usage_ledger.analytics.rollup_sql import OTHER, TAG_VALUES
from services.usage_ledger.analytics.snapshot import Key, RollupSnapshot

LINE_DIMENSIONS = (Dimension.MODEL, Dimension.PROVIDER, Dimension.KEY_SOURCE, Dimension.TEAM)
BREAKDOWN_DIMENSIONS = (
    *(Dimension.MODEL, Dimension.PROVIDER, Dimension.KEY_SOURCE),
    *(Dimension.TEAM, Dimension.MEMBER, Dimension.CLIENT_TOKEN),
)
_TAG_NAMES = f"""
SELECT tag_name FROM usage_rollups JOIN usage_values USING (values_id)
WHERE grain = {TAG_VALUES} AND bucket >= :since AND bucket < :until AND usage_rollups.tenant = :tenant AND tag_name <> :other
GROUP BY 1 HAVING sum(attempts) > 0 ORDER BY sum(attempts) DESC, 1 LIMIT :limit
"""  # noqa: S608 - a constant


@dataclass(frozen=True)
class UsedInMonth:
    """The usage of one month."""

    total: Sums
    own: Sums
    platform: Sums
    by: tuple[Dimension, ...]
    lines: list[BreakdownRow]
    lines_left_out: int
    rest: Sums
    breakdowns: list[StatementBreakdown]


class MonthUsage:
    """The usage of a tenant in one span. Methods raise DBAPIError."""

    def __init__(self, snapshot: RollupSnapshot, tenant: str, span: QuarterSpan) -> None:
        self._snapshot = snapshot
        self._tenant = tenant
        self._span = span

    async def read(self, tag: str | None) -> UsedInMonth:
        """Return everything; lines also by the values of `tag`, if it is given."""
        by_owner = await self._snapshot.totals_by(source_of(self._selection(()), self._span, whole_days=True), OWNER)
        total = add_up(by_owner.values())
        by = LINE_DIMENSIONS if tag is None else (*LINE_DIMENSIONS, Dimension.TAG)
        lines, count = await self._groups(by, tag, MAX_STATEMENT_LINES)
        breakdowns = [await self._break_down(each, None, total) for each in BREAKDOWN_DIMENSIONS]
        breakdowns += [await self._break_down(Dimension.TAG, name, total) for name in await self._tag_names()]
        return UsedInMonth(
            total=total,
            own=by_owner.get("own", Sums()),
            platform=by_owner.get("platform", Sums()),
            by=by,
            lines=_rows(by, lines),
            lines_left_out=max(count - len(lines), 0),
            rest=total.plus(add_up(sums for _, sums in lines), -1),
            breakdowns=breakdowns,
        )

    def _selection(self, by: tuple[Dimension, ...], tag: str | None = None) -> RollupSelection:
        return RollupSelection(self._tenant, {}, {}, by, tag)

    async def _groups(
        self, by: tuple[Dimension, ...], tag: str | None, limit: int
    ) -> tuple[list[tuple[Key, Sums]], int]:
        source = source_of(self._selection(by, tag), self._span, whole_days=True)
        return await self._snapshot.groups(source, by, Measure.CHARGE, limit)

    async def _break_down(self, by: Dimension, tag: str | None, total: Sums) -> StatementBreakdown:
        groups, count = await self._groups((by,), tag, MAX_STATEMENT_ROWS)
        among = total
        if tag is not None:
            # Attempts without the tag have no rollup of it.
            among = await self._snapshot.total(source_of(self._selection((by,), tag), self._span, whole_days=True))
        rest = among.plus(add_up(sums for _, sums in groups), -1)
        untagged = total.plus(among, -1)
        rows = [*groups, (("",), untagged)] if _has_usage(untagged) else groups
        return StatementBreakdown(
            by=by,
            tag=tag,
            rows=_rows((by,), rows),
            rest_count=max(count - len(groups), 0),
            rest=figures_of(rest) if _has_usage(rest) else None,
        )

    async def _tag_names(self) -> list[str]:
        values = {"tenant": self._tenant, "since": self._span.since, "until": self._span.until}
        rows = await self._snapshot.rows(_TAG_NAMES, values | {"other": OTHER, "limit": MAX_STATEMENT_TAGS})
        return [row["tag_name"] for row in rows]


def _rows(by: Sequence[Dimension], groups: Sequence[tuple[Key, Sums]]) -> list[BreakdownRow]:
    return [
        BreakdownRow(
            keys=[dimension_value(dimension, key) for dimension, key in zip(by, keys, strict=True)],
            figures=figures_of(sums),
        )
        for keys, sums in groups
    ]


def _has_usage(sums: Sums) -> bool:
    return bool(sums["attempts"] or sums["requests"])
