"""The SQL by which attempts become rollups: the same for ingestion, for a rebuild and for a check.

A rollup is of one tenant, of a quarter hour or a UTC day, and of one combination of values. There are three kinds of them: of
all values; of the provider's side alone, which are few; and of one tag. Of the first two there are rollups of both
lengths, so that every query finds rows of about the number that it needs. Zeros are stored as nulls, which take no space.

A sketch is an array of entries, each a count times 1024 plus a bucket of `keyferry.latency.sketch` plus 1. A bucket may have
several entries while there are few, since appending costs a hundredth of merging. Pure.
"""

from collections.abc import Iterable

from services.usage_ledger.corrections import JOIN_CORRECTED, current
from services.usage_ledger.database import TOKEN_KINDS

ALL_VALUES, MODEL_VALUES, TAG_VALUES = 1, 2, 3
"""Kinds of combinations, and the grains that are quarter hours; the grain of a day is by 3 greater."""
DAY = 3
MAX_SKETCH_ENTRIES = 32
"""Beyond that the entries of a sketch are merged whenever some are added."""
QUARTERS_OF_DAY = 96
SEPARATOR = "\x1f"
"""Between the values of a parameter: for each element of a list the driver takes a microsecond."""
OTHER = "\x01"
"""In place of values beyond the number that is kept apart. No value from outside has a control character."""
MAX_COMBINATIONS = 100_000
"""Combinations of a tenant and kind that are kept apart in one month; then callers' values count as other."""
MAX_TAG_VALUES = 10_000
"""Values of one tag that are kept apart in one month, times outcomes."""
RESERVE = 5_000
"""Tags with values that count as other, beyond those combinations; then their names count as other, too."""

SUMMED = (
    "attempts",
    "requests",
    "unpriced",
    "charged",
    "spend_unknown",
    *(f"{kind}_tokens" for kind in TOKEN_KINDS),
    "cost_usd",
    "charge_micro_usd",
    "absorbed_micro_usd",
    "spend_micro_usd",
)
SKETCHES = ("latency", "first_token")
VALUES = (
    *("provider", "endpoint", "model", "key_source", "outcome", "error_class", "operation", "power_level", "key_id"),
    *("client_token_id", "team", "member", "tier", "charged_level", "tag_name", "tag_value"),
)
MODEL_SIDE = ("provider", "endpoint", "model", "key_source", "outcome", "error_class")
TAG_SIDE = ("key_source", "outcome", "error_class", "tag_name", "tag_value")
CALLERS = ("operation", "key_id", "client_token_id", "team", "member")
"""Values of which a caller may send any number."""

_OF_INGESTION = """
    SELECT a.*, given.weight, given.requests
    FROM unnest(
        string_to_array(:ids, E'\\x1f'), CAST(string_to_array(:weights, E'\\x1f') AS integer[]),
        CAST(string_to_array(:requests, E'\\x1f') AS integer[])
    ) AS given (attempt_id, weight, requests)
    JOIN attempts AS a USING (attempt_id)
    WHERE a.attempt_id >= :first AND a.attempt_id <= :last
"""
"""The limits keep the database from reading other months, or all attempts of a table that it has no statistics of yet."""
_OF_ATTEMPT = ("provider", "endpoint", "model", "key_source", "outcome", "failure_class", "operation", "power_level",
               "key_id", "client_token_id", "team", "member", "tier", "charged_level", "tags")  # fmt: skip
_FACTS = ("tenant", *_OF_ATTEMPT, *(f"{kind}_tokens" for kind in TOKEN_KINDS), "started_at", "latency_ms",
          "first_token_ms", "pricing", "cost_usd", "charge_micro_usd", "absorbed_micro_usd", "spend_micro_usd")  # fmt: skip
OF_SPAN = f"""
    SELECT {", ".join(f"{current(name)} AS {name}" for name in _FACTS)}, 1 AS weight,
        CASE WHEN EXISTS (
            SELECT FROM attempts AS b
            WHERE b.request_id = attempts.request_id AND b.tenant || '' = attempts.tenant
                AND (b.attempt_number, b.attempt_id COLLATE "C")
                    < (attempts.attempt_number, attempts.attempt_id COLLATE "C")
        ) THEN 0 ELSE 1 END AS requests
    FROM attempts {JOIN_CORRECTED}
    WHERE attempts.started_at >= to_timestamp(CAST(:since AS bigint))
        AND attempts.started_at < to_timestamp(CAST(:until AS bigint))
"""  # noqa: S608 - names of columns
"""The attempts that began from `since` until `until`, in seconds since 1970, at what they cost after re-ratings.

`|| ''` keeps the database from looking at all attempts of the tenant for each of them.
"""


def _values_id(kind: object, values: Iterable[str]) -> str:
    """Return the id of a combination: a digest, of the tenant too, so that nobody has to agree on numbers."""
    return (
        f"md5(array_to_string(ARRAY[tenant, month::text, {kind}::text, {', '.join(values)}], E'\\x1f', E'\\x02'))::uuid"
    )


_ALL_SIDES = tuple(name for name in VALUES if not name.startswith("tag_"))
_COMBINATIONS = {
    ALL_VALUES: (_ALL_SIDES, (*CALLERS, "model"), (*CALLERS, "model")),
    MODEL_VALUES: (MODEL_SIDE, ("model",), ("model",)),
    TAG_VALUES: (TAG_SIDE, ("tag_value",), ("tag_name", "tag_value")),
}
"""By kind: the values that it is of; those that count as other beyond the number of combinations, and beyond the reserve."""


_QUARTER_AND_MONTH = """
        floor(extract(epoch FROM started_at) / 900)::integer AS quarter,
        (extract(year FROM started_at AT TIME ZONE 'UTC') * 12 + extract(month FROM started_at AT TIME ZONE 'UTC'))::integer
            AS month"""


def facts() -> str:
    """Select one row per attempt with its measures, times its weight: 1, or 0 if only its request moves to another attempt."""
    tokens = "".join(f"{kind}_tokens * weight AS {kind}_tokens, " for kind in TOKEN_KINDS)
    return f"""
    SELECT tenant, provider, endpoint, model, key_source, outcome, failure_class AS error_class, operation, power_level, key_id,
        client_token_id, team, member, tier, charged_level, tags, weight AS attempts, requests, {tokens}
        {_QUARTER_AND_MONTH},
        CASE WHEN pricing = 'unpriced' THEN weight ELSE 0 END AS unpriced,
        CASE WHEN charge_micro_usd IS NULL THEN 0 ELSE weight END AS charged,
        CASE WHEN spend_micro_usd IS NULL THEN weight ELSE 0 END AS spend_unknown,
        cost_usd * weight AS cost_usd, charge_micro_usd * weight AS charge_micro_usd,
        absorbed_micro_usd * weight AS absorbed_micro_usd, spend_micro_usd * weight AS spend_micro_usd,
        CASE WHEN weight > 0 THEN sketch_bucket(latency_ms)::bigint END AS latency,
        CASE WHEN weight > 0 AND first_token_ms IS NOT NULL THEN sketch_bucket(first_token_ms)::bigint
            END AS first_token
    FROM picked"""  # noqa: S608 - names from this module


def _only(sides: Iterable[str]) -> list[str]:
    """Return the expressions of all values, null for those that a combination is not of."""
    return [name if name in sides else "NULL" for name in VALUES]


def _combined() -> str:
    """Select the facts once for each kind of combination, with the id that the combination has."""
    parts = []
    for kind, (sides, *_) in _COMBINATIONS.items():
        tags = ", jsonb_each_text(tags) AS tag (tag_name, tag_value)" if kind == TAG_VALUES else ""
        names = ", ".join(name if name in sides else f"NULL::text AS {name}" for name in VALUES)
        # Percentiles by tag are not kept.
        sketches = (f"NULL::bigint AS {name}" if kind == TAG_VALUES else name for name in SKETCHES)
        measures = ", ".join((*SUMMED, *sketches))
        own_id = _values_id(kind, _only(sides))
        parts.append(
            f"SELECT {kind} AS kind, tenant, month, quarter, {names}, {measures}, {own_id} AS own_id FROM facts{tags}"  # noqa: S608
        )
    return " UNION ALL ".join(parts)


def _as_other(position: int) -> list[str]:
    """Return the expressions of all values of a combination beyond the limit, or beyond the reserve."""
    expressions = []
    for name in VALUES:
        kinds = [str(kind) for kind, sides in _COMBINATIONS.items() if name in sides[position]]
        other = f"CASE WHEN kind IN ({', '.join(kinds)}) AND {name} IS NOT NULL THEN E'\\x01' ELSE {name} END"
        expressions.append(other if kinds else name)
    return expressions


def _replacement(position: int) -> str:
    values = _as_other(position)
    columns = ", ".join(f"{value} AS {name}" for value, name in zip(values, VALUES, strict=True))
    return f"SELECT own_id, {_values_id('kind', values)} AS values_id, tenant, month, kind, {columns} FROM rejected"  # noqa: S608


_KEY = f"tenant, month, kind, {', '.join(VALUES)}"
_NUMBERS = """
    SELECT tenant, month, kind, (
        SELECT count(*) FROM usage_values AS v WHERE v.tenant = m.tenant AND v.month = m.month AND v.kind = m.kind
    ) AS combinations
    FROM (SELECT DISTINCT tenant, month, kind FROM missing) AS m"""
"""Counted once for all that is missing: a caller can send any number of values that are.

They are joined by FULL JOIN, although no row is without another: the database takes such a join for one of single rows, and would
compare every missing combination with every number.
"""
_TAG_NUMBERS = f"""
    SELECT v.tenant, v.month, v.kind, v.tag_name, count(*) AS tag_values
    FROM usage_values AS v JOIN (
        SELECT DISTINCT tenant, month, kind, tag_name FROM missing WHERE kind = {TAG_VALUES}
    ) AS m ON (v.tenant, v.month, v.kind, v.tag_name) = (m.tenant, m.month, m.kind, m.tag_name)
    GROUP BY 1, 2, 3, 4"""  # noqa: S608
_SUMS = ", ".join(f"nullif(sum({name}), 0) AS {name}" for name in SUMMED)
_SKETCHES_OF = ", ".join(
    f"CASE WHEN count({name}) <= {MAX_SKETCH_ENTRIES} THEN array_agg(1024 | {name}) FILTER (WHERE {name} IS NOT NULL)"
    f" ELSE merge_sketches(array_agg(1024 | {name}) FILTER (WHERE {name} IS NOT NULL)) END AS {name}"
    for name in SKETCHES
)


def _statement(picked: str, end: str) -> str:
    """Return a statement that makes rollups of the attempts that `picked` selects, and ends with `end`."""
    return f"""
WITH picked AS ({picked}),
facts AS MATERIALIZED ({facts()}),
combined AS MATERIALIZED ({_combined()}),
used AS MATERIALIZED (SELECT DISTINCT ON (own_id) own_id, {_KEY} FROM combined),
missing AS MATERIALIZED (
    SELECT * FROM used AS u WHERE NOT EXISTS (SELECT FROM usage_values AS v WHERE v.values_id = u.own_id)
),
numbers AS MATERIALIZED ({_NUMBERS}),
tag_numbers AS MATERIALIZED ({_TAG_NUMBERS}),
admitted AS (
    INSERT INTO usage_values (values_id, {_KEY})
    SELECT own_id, {_KEY}
    FROM missing FULL JOIN numbers USING (tenant, month, kind) FULL JOIN tag_numbers USING (tenant, month, kind, tag_name)
    WHERE coalesce(combinations, 0) < {MAX_COMBINATIONS} AND coalesce(tag_values, 0) < {MAX_TAG_VALUES}
    ON CONFLICT DO NOTHING RETURNING values_id
),
rejected AS MATERIALIZED (SELECT * FROM missing WHERE own_id NOT IN (SELECT values_id FROM admitted)),
within_reserve AS MATERIALIZED (
    SELECT m.* FROM ({_replacement(1)}) AS m JOIN numbers USING (tenant, month, kind)
    WHERE combinations < {MAX_COMBINATIONS + RESERVE}
        OR EXISTS (SELECT FROM usage_values AS v WHERE v.values_id = m.values_id)
),
replaced AS MATERIALIZED (
    SELECT * FROM within_reserve
    UNION ALL
    SELECT * FROM ({_replacement(2)}) AS m WHERE m.own_id NOT IN (SELECT own_id FROM within_reserve)
),
others AS (
    INSERT INTO usage_values (values_id, {_KEY}) SELECT DISTINCT ON (values_id) values_id, {_KEY} FROM replaced
    ON CONFLICT DO NOTHING
),
resolved AS (
    SELECT c.*, coalesce(r.values_id, c.own_id) AS values_id
    FROM combined AS c LEFT JOIN replaced AS r ON r.own_id = c.own_id
),
rollups AS (
    SELECT quarter / quarters * quarters AS bucket, kind + day AS grain, values_id, tenant, {_SUMS}, {_SKETCHES_OF}
    FROM resolved JOIN (VALUES (0, 1), ({DAY}, {QUARTERS_OF_DAY})) AS length (day, quarters)
        ON day = 0 OR kind <> {TAG_VALUES}
    GROUP BY 4, 2, 1, 3
)
{end}"""  # noqa: S608


_COLUMNS = f"bucket, grain, values_id, tenant, {', '.join((*SUMMED, *SKETCHES))}"
_ADD = ", ".join(
    (
        *(f"{name} = nullif(coalesce(t.{name}, 0) + coalesce(excluded.{name}, 0), 0)" for name in SUMMED),
        *(
            f"{name} = CASE WHEN coalesce(cardinality(t.{name}), 0) + coalesce(cardinality(excluded.{name}), 0)"
            f" <= {MAX_SKETCH_ENTRIES} THEN t.{name} || excluded.{name}"
            f" ELSE merge_sketches(t.{name} || excluded.{name}) END"
            for name in SKETCHES
        ),
    )
)
_INSERT = f"""
INSERT INTO usage_rollups AS t ({_COLUMNS})
SELECT {_COLUMNS} FROM rollups ORDER BY tenant, grain, bucket, values_id"""  # noqa: S608
ADD_ATTEMPTS = _statement(
    _OF_INGESTION, f"{_INSERT} ON CONFLICT (tenant, grain, bucket, values_id) DO UPDATE SET {_ADD}"
)
"""Adds the attempts `ids`, which are from `first` to `last`, each times its weight and with so many requests."""
INSERT_DAY = _statement(OF_SPAN, _INSERT)
"""Inserts the rollups of the attempts that began from `since` until `until` (seconds since 1970), one day of UTC."""
_OF_DAY = "bucket >= CAST(:since AS bigint) / 900 AND bucket < CAST(:until AS bigint) / 900"
DELETE_DAY = f"DELETE FROM usage_rollups WHERE {_OF_DAY}"  # noqa: S608 - see above
_ROW = ", ".join((*(f"{{0}}.{name}" for name in SUMMED), *(f"merge_sketches({{0}}.{name})" for name in SKETCHES)))
COMPARE_DAY = _statement(
    OF_SPAN,
    f"""
SELECT tenant, grain, bucket, values_id
FROM rollups AS r FULL JOIN (SELECT * FROM usage_rollups WHERE {_OF_DAY}) AS t USING (tenant, grain, bucket, values_id)
WHERE ({_ROW.format("r")}) IS DISTINCT FROM ({_ROW.format("t")})""",  # noqa: S608
)
"""Selects the rollups of a day that are not those of its attempts."""
EARLIER_ATTEMPTS = """
    SELECT attempt_id, request_id, tenant, attempt_number FROM attempts
    WHERE request_id = ANY(string_to_array(:request_ids, E'\\x1f')) AND attempt_id <> ALL(string_to_array(:ids, E'\\x1f'))
"""
"""The attempts of these requests that were recorded before."""

CORRECTED_SUMS = ("unpriced", "spend_unknown", "cost_usd", "charge_micro_usd", "absorbed_micro_usd", "spend_micro_usd")
"""What re-ratings change of rollups."""
_DIFFERENCES = {
    "unpriced": "(r.pricing = 'unpriced')::integer - (r.pricing_before = 'unpriced')::integer",
    "spend_unknown": "(r.spend_micro_usd IS NULL)::integer - (r.spend_micro_usd_before IS NULL)::integer",
    **{name: f"coalesce(r.{name}, 0) - coalesce(r.{name}_before, 0)" for name in CORRECTED_SUMS[2:]},
}
_CORRECTION_FACTS = f"""
    SELECT tenant, provider, endpoint, model, key_source, outcome, failure_class AS error_class, operation, power_level, key_id,
        client_token_id, team, member, tier, charged_level, tags, {_QUARTER_AND_MONTH},
        {", ".join(f"{_DIFFERENCES.get(name, '0')} AS {name}" for name in SUMMED)},
        {", ".join(f"NULL::bigint AS {name}" for name in SKETCHES)}
    FROM (
        SELECT * FROM rerated_attempts WHERE rerate_id = :rerate_id AND tenant = :tenant
    ) AS r JOIN (SELECT attempt_id, tenant, {", ".join(_OF_ATTEMPT)}, started_at FROM attempts) AS a USING (attempt_id, tenant)
"""  # noqa: S608 - names of columns
SELECT_CORRECTIONS = f"""
WITH facts AS MATERIALIZED ({_CORRECTION_FACTS}),
combined AS MATERIALIZED ({_combined()}),
rejected AS MATERIALIZED (
    SELECT DISTINCT ON (own_id) own_id, {_KEY} FROM combined AS c
    WHERE NOT EXISTS (SELECT FROM usage_values AS v WHERE v.values_id = c.own_id)
),
within_reserve AS (
    SELECT m.own_id, m.values_id FROM ({_replacement(1)}) AS m
    WHERE EXISTS (SELECT FROM usage_values AS v WHERE v.values_id = m.values_id)
),
replaced AS (
    SELECT m.own_id, coalesce(within_reserve.values_id, m.values_id) AS values_id
    FROM ({_replacement(2)}) AS m LEFT JOIN within_reserve USING (own_id)
)
SELECT quarter / quarters * quarters AS bucket, kind + day AS grain, coalesce(r.values_id, c.own_id)::text AS values_id,
    {", ".join(f"sum({name}) AS {name}" for name in CORRECTED_SUMS)}
FROM combined AS c LEFT JOIN replaced AS r ON r.own_id = c.own_id
JOIN (VALUES (0, 1), ({DAY}, {QUARTERS_OF_DAY})) AS length (day, quarters) ON day = 0 OR kind <> {TAG_VALUES}
GROUP BY 2, 1, 3 ORDER BY 2, 1, 3
"""  # noqa: S608 - see above
"""Selects what a re-rating of a tenant adds to rollups. Their values are known since the attempts were recorded."""
ADD_CORRECTIONS = f"""
INSERT INTO usage_rollups AS t (tenant, bucket, grain, values_id, {", ".join(CORRECTED_SUMS)})
SELECT :tenant, bucket, grain, values_id::uuid, {", ".join(f"nullif({name}, 0)" for name in CORRECTED_SUMS)}
FROM json_to_recordset(CAST(:rows AS json)) AS added (
    bucket integer, grain smallint, values_id text, {", ".join(f"{name} numeric" for name in CORRECTED_SUMS)}
)
ORDER BY grain, bucket, values_id
ON CONFLICT (tenant, grain, bucket, values_id) DO UPDATE SET {
    ", ".join(f"{name} = nullif(coalesce(t.{name}, 0) + coalesce(excluded.{name}, 0), 0)" for name in CORRECTED_SUMS)
}
"""  # noqa: S608 - see above
