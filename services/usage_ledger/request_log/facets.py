"""Facets: what a request can be found by, and in which quarter hours it occurs.

The table of facets has a row for each facet of a tenant and each day (UTC) on which an attempt or a refusal has it, with one bit
for each quarter hour of the day. A search reads only the quarter hours that have all of its facets, and checks the rows there.
So rare requests are found as fast as common ones, and one small table takes the place of an index for each filter. Pure.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
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


class Facet(NamedTuple):
    """What an attempt or a refusal can be found by, and its quarter hour, numbered from 1970."""

    tenant: str
    name: str
    bucket: int


class FacetDay(NamedTuple):
    """One row of the table. The first of `quarters` is the first quarter hour of the day."""

    tenant: str
    name: str
    day: int
    quarters: str


FacetChoice = tuple[str, ...]
"""Names of facets of which one is enough."""


class TimeSpan(NamedTuple):
    """A span of time: `since` inclusive, `until` exclusive."""

    since: datetime
    until: datetime


def bucket_of(moment: datetime) -> int:
    """Return the number of the quarter hour (UTC) that a moment with a time zone is in."""
    return (moment - _EPOCH) // BUCKET


def days_of(found: Iterable[Facet]) -> list[FacetDay]:
    """Return the rows of facets, in the order of the table's key."""
    days: dict[tuple[str, str, int], int] = {}
    for facet in found:
        day, quarter = divmod(facet.bucket, PER_DAY)
        key = (facet.tenant, facet.name, day)
        days[key] = days.get(key, 0) | 1 << (PER_DAY - 1 - quarter)
    return [FacetDay(*key, f"{bits:0{PER_DAY}b}") for key, bits in sorted(days.items())]


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


def facets_of_attempt(row: LedgerRow) -> set[Facet]:
    """Return the facets of an attempt."""
    record, failure = row.record, row.record.failure
    names = {
        f"outcome:{record.outcome}",
        f"provider:{record.provider}",
        *_models(record.model_asked, record.model, record.model_served),
        f"source:{record.key_source}",
        *_optional("provider", record.endpoint),
        *_optional("operation", record.operation),
        *_optional("level", record.power_level),
        *_optional("key", record.key_id),
        *_optional("token", record.client_token_id),
        *_optional("team", record.team),
        *_optional("member", record.member),
        *_tags(record.tags),
        f"latency:{_magnitude(record.latency_ms)}",
        *(() if row.cost_usd is None else (_cost(row.cost_usd),)),
    }
    if failure is not None:
        names |= {f"error:{failure.failure_class}", *_words(failure.message)}
    bucket = bucket_of(record.started_at)
    return {Facet(record.tenant, name, bucket) for name in names}


def facets_of_refusal(record: DecisionRecord) -> set[Facet]:
    """Return the facets of a decision that refused a request."""
    if record.refusal is None:
        return set()
    names = {
        f"outcome:{RequestOutcome.REFUSED}",
        f"error:{record.refusal.failure_class}",
        *_words(record.refusal.message),
        *_models(record.model_asked),
        *_optional("operation", record.operation),
        *_optional("level", record.power_level),
        *_optional("token", record.client_token_id),
        *_optional("team", record.team),
        *_optional("member", record.member),
        *_tags(record.tags),
    }
    bucket = bucket_of(record.decided_at)
    return {Facet(record.tenant, name, bucket) for name in names}


def facet_of_cost(tenant: str, started_at: datetime, cost_usd: Decimal) -> Facet:
    """Return the facet that an attempt gets when its cost is corrected; it keeps the others."""
    return Facet(tenant, _cost(cost_usd), bucket_of(started_at))


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


def _models(*names: str | None) -> set[str]:
    return {f"model:{name}" for name in names if name is not None}


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
