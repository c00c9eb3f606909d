"""Facets: what a request can be found by, and in which quarter hours it occurs.

The table of facets has a row for each facet of a tenant and each day (UTC) on which an attempt or a refusal has it, with one bit
for each quarter hour of the day. A search reads only the quarter hours that have all of its facets, and checks the rows there.
So rare requests are found as fast as common ones, and one small table takes the place of an index for each filter. Pure.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import reduce
from operator import and_
from typing import NamedTuple

from keyferry.contracts.credit import MICRO
from keyferry.contracts.request_log import RequestFilter, RequestOutcome
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import LedgerRow

BUCKET = timedelta(minutes=15)
PER_DAY = 96
MAX_WORDS = 64
"""Different words of a message that can be searched; the message of a failure may have hundreds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORD = re.compile(r"[^\W_]+")
_LONGEST_WORD = 40
_BOUNDS = (*range(8), *(lead << shift for shift in range(1, 38) for lead in range(4, 8)))
"""Where the magnitudes of latencies (ms) and costs (micro-dollars) begin: four for each power of two."""


QuarterFacets = dict[tuple[str, int], set[str]]
"""Names of facets by tenant and quarter hour, which is numbered from 1970."""


class FacetDay(NamedTuple):
    """Rows of the table that differ in their name alone. The first of `quarters` is the first quarter hour of the day."""

    tenant: str
    day: int
    quarters: str
    names: Collection[str]


FacetChoice = tuple[str, ...]
"""Names of facets of which one is enough."""


class TimeSpan(NamedTuple):
    """A span of time: `since` inclusive, `until` exclusive."""

    since: datetime
    until: datetime


def bucket_of(moment: datetime) -> int:
    """Return the number of the quarter hour (UTC) that a moment with a time zone is in."""
    return (moment - _EPOCH) // BUCKET


def days_of(found: QuarterFacets) -> list[FacetDay]:
    """Return the rows of facets, each once."""
    by_day: dict[tuple[str, int], dict[int, set[str]]] = {}
    for (tenant, bucket), names in found.items():
        day, quarter = divmod(bucket, PER_DAY)
        by_day.setdefault((tenant, day), {})[1 << (PER_DAY - 1 - quarter)] = names
    return [
        FacetDay(tenant, day, f"{bits:0{PER_DAY}b}", names)
        for (tenant, day), of_quarters in by_day.items()
        for bits, names in (of_quarters if len(of_quarters) == 1 else _by_all_quarters(of_quarters)).items()
    ]


def _by_all_quarters(of_quarters: dict[int, set[str]]) -> dict[int, set[str]]:
    """Return names by all of their quarter hours, for names by each."""
    all_bits: dict[str, int] = {}
    for bit, names in of_quarters.items():
        for name in names:
            all_bits[name] = all_bits.get(name, 0) | bit
    found: dict[int, set[str]] = {}
    for name, bits in all_bits.items():
        found.setdefault(bits, set()).add(name)
    return found


def common_buckets(days: Iterable[tuple[str, int, str]], choices: Sequence[FacetChoice]) -> list[int]:
    """Return the quarter hours that have a facet of every choice, the latest first; `days` are name, day and quarters."""
    places = {name: place for place, choice in enumerate(choices) for name in choice}
    found: dict[int, list[int]] = {}
    for name, day, quarters in days:
        bits = found.setdefault(day, [0] * len(choices))
        bits[places[name]] |= int(quarters, 2)
    buckets = []
    for day in sorted(found, reverse=True):
        common = reduce(and_, found[day])
        buckets += [day * PER_DAY + PER_DAY - 1 - bit for bit in range(PER_DAY) if common >> bit & 1]
    return buckets


def spans_of(buckets: Sequence[int]) -> list[TimeSpan]:
    """Return the spans of quarter hours given from the latest to the earliest; neighbours are joined."""
    spans: list[TimeSpan] = []
    for bucket in buckets:
        begins = _EPOCH + bucket * BUCKET
        if spans and spans[-1].since == begins + BUCKET:
            spans[-1] = TimeSpan(begins, spans[-1].until)
        else:
            spans.append(TimeSpan(begins, begins + BUCKET))
    return spans


def words_of(text: str) -> list[str]:
    """Return the different words of a text in lower case, in order: letters and digits that stand together."""
    return list(dict.fromkeys(word[:_LONGEST_WORD] for word in _WORD.findall(text.lower())))


def has_words(message: str | None, words: Sequence[str]) -> bool:
    """Return whether a failure's message has all these words among those that can be searched."""
    return not words or (message is not None and set(words) <= set(words_of(message)[:MAX_WORDS]))


def facets_of_attempts(rows: Iterable[LedgerRow]) -> QuarterFacets:
    """Return the facets of attempts."""
    found: QuarterFacets = {}
    for row in rows:
        key = (row.record.tenant, bucket_of(row.record.started_at))
        found.setdefault(key, set()).update(names_of_attempt(row))
    return found


def facets_of_refusals(records: Iterable[DecisionRecord]) -> QuarterFacets:
    """Return the facets of decisions that refused a request."""
    found: QuarterFacets = {}
    for record in records:
        found.setdefault((record.tenant, bucket_of(record.decided_at)), set()).update(names_of_refusal(record))
    return found


def names_of_attempt(row: LedgerRow) -> list[str]:
    """Return the names of the facets of an attempt; a name may be there twice."""
    record, failure = row.record, row.record.failure
    model, asked, served = record.model, record.model_asked, record.model_served
    names = [
        "outcome:" + record.outcome,
        "provider:" + record.provider,
        "model:" + model,
        "source:" + record.key_source,
        f"latency:{_magnitude(record.latency_ms)}",
    ]
    if asked != model:
        names.append("model:" + asked)
    if served is not None and served != model:
        names.append("model:" + served)
    if row.cost_usd is not None:
        names.append(_cost(row.cost_usd))
    for kind, value in (
        ("provider:", record.endpoint),
        ("operation:", record.operation),
        ("level:", record.power_level),
        ("key:", record.key_id),
        ("token:", record.client_token_id),
        ("team:", record.team),
        ("member:", record.member),
    ):
        if value is not None:
            names.append(kind + value)
    if record.tags:
        names += _tags(record.tags)
    if failure is not None:
        names += ("error:" + failure.failure_class, *_words(failure.message))
    return names


def names_of_refusal(record: DecisionRecord) -> set[str]:
    """Return the names of the facets of a decision; none unless it refused the request."""
    if record.refusal is None:
        return set()
    return {
        f"outcome:{RequestOutcome.REFUSED}",
        f"error:{record.refusal.failure_class}",
        *_words(record.refusal.message),
        f"model:{record.model_asked}",
        *_optional("operation", record.operation),
        *_optional("level", record.power_level),
        *_optional("token", record.client_token_id),
        *_optional("team", record.team),
        *_optional("member", record.member),
        *_tags(record.tags),
    }


def facets_of_costs(tenant: str, costs: Iterable[tuple[datetime, Decimal]]) -> QuarterFacets:
    """Return the facets that attempts get when their costs are corrected, by when they began; they keep the others."""
    found: QuarterFacets = {}
    for started_at, cost_usd in costs:
        found.setdefault((tenant, bucket_of(started_at)), set()).add(_cost(cost_usd))
    return found


def facets_of_filter(query: RequestFilter) -> list[FacetChoice]:
    """Return facets that whatever matches has, one of each choice; none if only the time decides."""
    one_each = (
        *_optional("outcome", query.outcome),
        *_optional("error", query.error_class),
        *_optional("provider", query.provider),
        *_optional("model", query.model),
        *_optional("operation", query.operation),
        *_optional("level", query.level),
        *_optional("source", query.key_source),
        *_optional("key", query.key_id),
        *_optional("token", query.client_token_id),
        *_optional("team", query.team),
        *_optional("member", query.member),
        *_tag(query.tag_name, query.tag_value),
        *(f"word:{word}" for word in words_of(query.text or "")),
    )
    cost = None if query.min_cost_usd is None else _micro(query.min_cost_usd)
    steps = (*_at_least("latency", query.min_latency_ms), *_at_least("cost", cost))
    return [*((name,) for name in one_each), *steps]


def _optional(kind: str, value: str | None) -> Iterator[str]:
    if value is not None:
        yield f"{kind}:{value}"


def _tags(tags: dict[str, str]) -> Iterator[str]:
    for name, value in tags.items():
        yield from (f"tag:{name}", f"tag:{name}={value}")


def _tag(name: str | None, value: str | None) -> Iterator[str]:
    if name is not None:
        yield f"tag:{name}" if value is None else f"tag:{name}={value}"


def _words(message: str) -> Iterator[str]:
    for word in words_of(message)[:MAX_WORDS]:
        yield f"word:{word}"


def _cost(cost_usd: Decimal) -> str:
    return f"cost:{_magnitude(_micro(cost_usd))}"


def _micro(cost_usd: Decimal) -> int:
    return int(cost_usd * MICRO)


def _magnitude(amount: int) -> int:
    """Return the number of the last bound up to `amount`."""
    return bisect_right(_BOUNDS, amount) - 1


def _at_least(kind: str, amount: int | None) -> Iterator[FacetChoice]:
    if amount is not None:
        yield tuple(f"{kind}:{step}" for step in range(_magnitude(amount), len(_BOUNDS)))
