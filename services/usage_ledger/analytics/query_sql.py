"""The SQL of queries over rollups: which rows they read, and how these are added up.

A query reads the rows of the kind that has the values it names, of days where whole days of UTC are asked for and of quarter
hours beside them. Tags together with other values are in no rollup: such a query reads the attempts themselves. Pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from keyferry.contracts.analytics import AnalyticsQuery, Dimension, Measure
from services.usage_ledger.analytics.figures import OUTCOMES
from services.usage_ledger.analytics.periods import QuarterSpan
from services.usage_ledger.analytics.rollup_sql import (
    ALL_VALUES,
    DAY,
    MODEL_SIDE,
    MODEL_VALUES,
    OF_SPAN,
    QUARTERS_OF_DAY,
    SKETCHES,
    SUMMED,
    TAG_SIDE,
    TAG_VALUES,
    VALUES,
    facts,
)
from services.usage_ledger.database import TOKEN_KINDS

REST = "\x02"
"""The key of what is in no line of its own. No value from outside has a control character."""
COLUMNS = {dimension: dimension.value for dimension in Dimension} | {
    Dimension.KEY: "key_id",
    Dimension.CLIENT_TOKEN: "client_token_id",
    Dimension.TAG: "tag_value",
}
_TOKENS = " + ".join(f"coalesce(sum({kind}_tokens), 0)" for kind in TOKEN_KINDS)
_ORDER = {
    Measure.COST: "coalesce(sum(cost_usd), 0)",
    Measure.SPEND: "coalesce(sum(spend_micro_usd), 0)",
    Measure.CHARGE: "coalesce(sum(charge_micro_usd), 0)",
    Measure.REQUESTS: "coalesce(sum(requests), 0)",
    Measure.ATTEMPTS: "coalesce(sum(attempts), 0)",
    Measure.TOKENS: _TOKENS,
    Measure.FAILED: "coalesce(sum(attempts) FILTER (WHERE outcome = 'failed'), 0)",
}
SUMS = ", ".join(
    (
        *(f"sum({name}) AS {name}" for name in SUMMED),
        *(f"sum(attempts) FILTER (WHERE outcome = '{outcome}') AS {outcome}" for outcome in OUTCOMES),
    )
)


@dataclass
class RollupSource:
    """A relation with the rows that a query adds up, and its parameters."""

    sql: str
    parameters: dict[str, Any] = field(default_factory=dict)
    has_sketches: bool = True
    only_tagged: bool = False
    """Whether attempts without the query's tag have no row."""


@dataclass(frozen=True)
class RollupSelection:
    """What a query filters and splits by."""

    tenant: str | None
    filters: dict[Dimension, list[str]]
    tags: dict[str, list[str]]
    by: tuple[Dimension, ...] = ()
    tag: str | None = None

    @classmethod
    def of(cls, query: AnalyticsQuery, by: Iterable[Dimension] = (), tag: str | None = None) -> "RollupSelection":
        """Return what `query` names."""
        return cls(query.tenant, dict(query.filters), dict(query.tags), tuple(by), tag)

    @property
    def columns(self) -> set[str]:
        """The columns of the values that have to be known."""
        return {COLUMNS[each] for each in (*self.filters, *self.by)} - {"tenant"}

    @property
    def kind(self) -> int | None:
        """The kind of rollups that has all of them; None if none has."""
        if self.tags or self.tag is not None:
            names = {*self.tags} | ({self.tag} if self.tag is not None else set())
            is_kept = len(names) == 1 and self.columns <= set(TAG_SIDE) and "" not in next(iter(self.tags.values()), ())
            return TAG_VALUES if is_kept else None
        return MODEL_VALUES if self.columns <= set(MODEL_SIDE) else ALL_VALUES


def source_of(selection: RollupSelection, span: QuarterSpan, *, whole_days: bool) -> RollupSource:
    """Return the rows of a span. With `whole_days` those of a day may be one row, of its first quarter hour."""
    kind = selection.kind
    if kind is None:
        return _attempts(selection, span)
    parts = list(_parts(kind, span, whole_days=whole_days))
    parameters: dict[str, Any] = {}
    selects = []
    for number, (grain, part) in enumerate(parts):
        parameters |= {f"grain_{number}": grain, f"since_{number}": part.since, f"until_{number}": part.until}
        bounds = f"grain = :grain_{number} AND bucket >= :since_{number} AND bucket < :until_{number}"
        tenant = "" if selection.tenant is None else " AND tenant = :tenant"
        selects.append(f"SELECT * FROM usage_rollups WHERE {bounds}{tenant}")  # noqa: S608
    conditions, values = _conditions(selection, in_rollups=True)
    names = ", ".join(f"v.{name}" for name in VALUES)
    sql = f"SELECT r.*, {names} FROM ({' UNION ALL '.join(selects)}) AS r JOIN usage_values AS v USING (values_id){conditions}"  # noqa: S608
    return RollupSource(
        sql,
        parameters | values,
        has_sketches=kind != TAG_VALUES,
        # A filter of the same tag leaves none without it.
        only_tagged=kind == TAG_VALUES and bool(selection.tag) and not selection.tags,
    )


def _parts(kind: int, span: QuarterSpan, *, whole_days: bool) -> Iterator[tuple[int, QuarterSpan]]:
    first = -(-span.since // QUARTERS_OF_DAY) * QUARTERS_OF_DAY
    last = span.until // QUARTERS_OF_DAY * QUARTERS_OF_DAY
    if not whole_days or kind == TAG_VALUES or first >= last:
        yield kind, span
        return
    yield kind + DAY, QuarterSpan(first, last)
    if span.since < first:
        yield kind, QuarterSpan(span.since, first)
    if last < span.until:
        yield kind, QuarterSpan(last, span.until)


def _conditions(selection: RollupSelection, *, in_rollups: bool) -> tuple[str, dict[str, Any]]:
    parameters: dict[str, Any] = {} if selection.tenant is None else {"tenant": selection.tenant}
    conditions = []
    for dimension, values in selection.filters.items():
        column = COLUMNS[dimension] if dimension is not Dimension.TENANT or not in_rollups else "r.tenant"
        missing = f" OR {column} IS NULL" if "" in values else ""
        conditions.append(f"({column} = ANY(:filter_{dimension.value}){missing})")
        parameters[f"filter_{dimension.value}"] = list(values)
    for number, (name, values) in enumerate(selection.tags.items()):
        parameters |= {f"tag_{number}": name, f"tag_values_{number}": list(values)}
        conditions.append(
            f"tag_name = :tag_{number} AND tag_value = ANY(:tag_values_{number})"
            if in_rollups
            else f"coalesce(tags ->> :tag_{number}, '') = ANY(:tag_values_{number})"
        )
    if selection.tag is not None:
        parameters["tag"] = selection.tag
        conditions += ["tag_name = :tag"] if in_rollups else []
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), parameters


def _attempts(selection: RollupSelection, span: QuarterSpan) -> RollupSource:
    conditions, parameters = _conditions(selection, in_rollups=False)
    since, until = (bound.timestamp() for bound in span.bounds)
    tenant = "" if selection.tenant is None else " AND attempts.tenant = :tenant"
    tag = "NULL::text" if selection.tag is None else "tags ->> :tag"
    sketches = ", ".join(f"CASE WHEN {name} IS NOT NULL THEN ARRAY[1024 | {name}] END AS {name}" for name in SKETCHES)
    names = ", ".join(name for name in VALUES if not name.startswith("tag_"))
    sql = f"""
    SELECT quarter AS bucket, tenant, {names}, {tag} AS tag_value, {", ".join(SUMMED)}, {sketches}
    FROM (WITH picked AS ({OF_SPAN}{tenant}) {facts()}) AS attempts_of_span{conditions}"""  # noqa: S608
    return RollupSource(sql, parameters | {"since": int(since), "until": int(until)})


def total_sql(source: RollupSource, key: str = "''") -> str:
    """Select the sums of all rows by one key."""
    return f"SELECT {key} AS key, {SUMS} FROM ({source.sql}) AS found GROUP BY 1"  # noqa: S608


def groups_sql(source: RollupSource, by: Sequence[Dimension], sort: Measure) -> str:
    """Select the sums by value, greatest first, and how many there are."""
    columns = ", ".join(f"coalesce({COLUMNS[each]}, '')" for each in by)
    positions = ", ".join(str(number) for number in range(1, len(by) + 1))
    keys = ", ".join(f"coalesce({COLUMNS[each]}, '') AS key_{number}" for number, each in enumerate(by))
    return f"""
    SELECT {keys}, count(*) OVER () AS groups, {SUMS} FROM ({source.sql}) AS found GROUP BY {columns}
    ORDER BY {_ORDER[sort]} DESC, sum(attempts) DESC, {positions} LIMIT :limit"""  # noqa: S608


def key_of_line(by: Dimension | None) -> str:
    """Return the expression of a row's line: its value if that is one of `lines`, else the rest."""
    if by is None:
        return "''"
    return f"CASE WHEN coalesce({COLUMNS[by]}, '') = ANY(:lines) THEN coalesce({COLUMNS[by]}, '') ELSE E'\\x02' END"


def series_sql(source: RollupSource, by: Dimension | None) -> str:
    """Select the sums by line and number of the bucket, of which `starts` has the limits."""
    return f"""
    SELECT {key_of_line(by)} AS key, width_bucket(bucket, CAST(:starts AS integer[])) - 1 AS position, {SUMS}
    FROM ({source.sql}) AS found GROUP BY 1, 2"""  # noqa: S608


def sketches_sql(
    source: RollupSource, sketch: str, keys: Sequence[str], *, only_completed: bool, only_groups: bool
) -> str:
    """Select the entries of a sketch, added up by keys; with `only_groups` of the groups `group_0`, `group_1` ... alone."""
    named = "".join(f"{key} AS key_{number}, " for number, key in enumerate(keys))
    conditions = ["outcome = 'completed'"] if only_completed else []
    if only_groups:
        arrays = ", ".join(f"CAST(:group_{number} AS text[])" for number in range(len(keys)))
        conditions.append(f"({', '.join(keys)}) IN (SELECT * FROM unnest({arrays}))")  # noqa: S608 - see above
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    positions = ", ".join(str(number) for number in range(1, len(keys) + 2))
    return f"""
    SELECT {named}(entry & 1023)::integer AS bucket_of_sketch, sum(entry >> 10)::bigint AS number
    FROM (SELECT * FROM ({source.sql}) AS found{where}) AS chosen, unnest({sketch}) AS each (entry)
    GROUP BY {positions}"""  # noqa: S608
