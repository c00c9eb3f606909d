"""Reads the request log from PostgreSQL, newest first."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import NamedTuple, cast

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.request_cursor import END, REFUSAL, Position, RequestCursor, encode_cursor
from keyferry.contracts.request_log import (
    MAX_COUNTED,
    ListRequests,
    LoggedRequest,
    RequestCount,
    RequestFilter,
    RequestPage,
)
from keyferry.runtime.database.tenant_isolation import as_service
from services.usage_ledger.attempt_packing import whole_row
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.request_log.entries import Row, request_of_attempts, request_of_refusal
from services.usage_ledger.request_log.facets import (
    PER_DAY,
    TimeSpan,
    bucket_of,
    common_buckets,
    facets_of_filter,
    spans_of,
)
from services.usage_ledger.request_log.queries import (
    Rows,
    select_attempted,
    select_attempts,
    select_candidates,
    select_facets,
    select_ids,
    select_refusals,
)
from services.usage_ledger.request_log.selection import (
    LogCandidate,
    is_last_refusal,
    merge_candidates,
    stands_for_request,
)
from services.usage_ledger.request_log.windows import SearchPace, clip, slices, span_of, window_of_id

SETTLED_AFTER = timedelta(seconds=2)
"""After this time a record is either in the table or counts as recorded later."""
MAX_IDS = 1000
"""Requests that one beginning of an id may lead to."""

_MAX_SEARCHED = 2000
"""Quarter hours that a page is looked for in; then it is answered as it is."""
_COUNTED_AT_ONCE = 2000
_BEGIN = "SET LOCAL statement_timeout = '10s'; SET LOCAL jit = off"
"""Plans look expensive by their estimates, and are not worth compiling."""
_MICROSECOND = timedelta(microseconds=1)


class ManyIds(Exception):
    """The beginning of an id leads to too many requests."""


class _Search(NamedTuple):
    """One search on one snapshot."""

    connection: AsyncConnection
    query: RequestFilter
    as_of: datetime
    request_ids: Sequence[str] | None
    """The only requests to look at; null for all."""

    async def rows(self, statement: Rows) -> list[Row]:
        found = (await self.connection.execute(statement)).mappings()
        return [cast(Row, row) for row in found]


class _Found(NamedTuple):
    """The rows of a request at its place in the list; without rows, a place up to which there is nothing more."""

    position: Position
    rows: Sequence[Row]


class RequestLogStore(TransactionalStore):
    """The request log. Every method raises DatabaseUnavailable."""

    async def page(self, command: ListRequests, cursor: RequestCursor | None, now: datetime) -> RequestPage:
        """Return the page after a cursor, newest first. Raises ManyIds."""
        as_of = cursor.as_of if cursor else now - SETTLED_AFTER if command.settled else now
        async with self.snapshot() as connection:
            await connection.execute(text(_BEGIN))
            request_ids = None if command.id is None else await _resolve_id(connection, command.tenant, command.id)
            search = _Search(connection, command, as_of, request_ids)
            found, more = await _take(search, cursor.position if cursor else None, command.limit)
            total = await _count(search) if command.count else None
        after = encode_cursor(RequestCursor(as_of, found[-1].position), command) if more else None
        requests = [_to_request(one) for one in found if one.rows]
        return RequestPage(requests=requests, next=after, as_of=as_of, total=total)

    async def refusal(self, tenant: str, request_id: str, now: datetime) -> LoggedRequest | None:
        """Return a request that was refused, without regard to attempts; None if it was not."""
        async with self.transaction() as connection:
            search = _Search(connection, RequestFilter(tenant=tenant), now, None)
            rows = await search.rows(select_refusals(search.query, now, [request_id]))
        return request_of_refusal(rows[0]) if rows else None


async def _take(search: _Search, below: Position | None, limit: int) -> tuple[list[_Found], bool]:
    """Return at most `limit` requests after a place, and whether there are more."""
    taken: list[_Found] = []
    async with aclosing(_find(search, below, limit + 1, brief=False)) as found:
        async for one in found:
            if len(taken) == limit:
                return taken, True
            taken.append(one)
            if one.position.rank == END:
                return taken, True
    return taken, False


async def _count(search: _Search) -> RequestCount:
    """Count all requests that match, up to the most that are counted."""
    count = 0
    async with aclosing(_find(search, None, _COUNTED_AT_ONCE, brief=True)) as found:
        async for one in found:
            if count == MAX_COUNTED or one.position.rank == END:
                return RequestCount(count=count, more=True)
            count += 1
    return RequestCount(count=count)


async def _find(search: _Search, below: Position | None, chunk: int, *, brief: bool) -> AsyncGenerator[_Found, None]:
    """Yield the requests after a place, newest first; an END when the search was long enough."""
    pace = SearchPace(chunk)
    pending: list[LogCandidate] = []
    searched = 0
    async with aclosing(_windows(search, below, pace)) as windows:
        async for spans, buckets in windows:
            exhausted = False
            while not exhausted:
                candidates, exhausted = await _candidates(search, spans, below, chunk)
                pending += candidates
                below = candidates[-1].position if candidates else below
                pace.note(buckets if exhausted else 0, len(candidates))
                if len(pending) >= chunk:
                    for found in await _verify(search, pending, brief=brief):
                        yield found
                    pending = []
            searched += buckets
            if searched > _MAX_SEARCHED:
                for found in await _verify(search, pending, brief=brief):
                    yield found
                yield _Found(Position(spans[-1].since, END, ""), ())
                return
    for found in await _verify(search, pending, brief=brief):
        yield found


async def _windows(
    search: _Search, below: Position | None, pace: SearchPace
) -> AsyncGenerator[tuple[list[TimeSpan], int], None]:
    """Yield the spans to look in, the latest first, and how many quarter hours they are if those were chosen."""
    span = span_of(search.query)
    if below is not None:
        span = TimeSpan(span.since, min(span.until, below.at + _MICROSECOND))
    if span.since >= span.until or search.request_ids == []:
        return
    choices = facets_of_filter(search.query)
    if search.request_ids is not None or not choices:
        yield [span], 0
        return
    first, last = bucket_of(span.since), bucket_of(span.until - _MICROSECOND)
    for since_day, until_day in slices(first // PER_DAY, last // PER_DAY):
        rows = await search.rows(select_facets(search.query.tenant, choices, since_day, until_day))
        days = ((row["name"], row["day"], row["quarters"]) for row in rows)
        buckets = [bucket for bucket in common_buckets(days, choices) if first <= bucket <= last]
        while buckets:
            size = pace.next_size()
            group, buckets = buckets[:size], buckets[size:]
            yield [clip(part, span) for part in spans_of(group)], len(group)


async def _candidates(
    search: _Search, spans: Sequence[TimeSpan], below: Position | None, chunk: int
) -> tuple[list[LogCandidate], bool]:
    """Return the latest candidates after a place, and whether they are all there are in these spans."""
    of_attempts, of_refusals = [
        [] if statement is None else await search.rows(statement)
        for statement in select_candidates(search.query, spans, below, search.as_of, search.request_ids, chunk)
    ]
    return merge_candidates(of_attempts, of_refusals, chunk), len(of_attempts) + len(of_refusals) < chunk


async def _verify(search: _Search, candidates: Sequence[LogCandidate], *, brief: bool) -> list[_Found]:
    """Return those candidates by which their requests are listed, with the rows of the request."""
    refused = [one.request_id for one in candidates if one.position.rank == REFUSAL]
    attempted = [one.request_id for one in candidates if one.position.rank != REFUSAL]
    of_attempts: defaultdict[str, list[Row]] = defaultdict(list)
    of_refusals: defaultdict[str, list[Row]] = defaultdict(list)
    if attempted:
        for row in await search.rows(select_attempts(search.query, search.as_of, attempted, brief=brief)):
            of_attempts[row["request_id"]].append(row if brief else whole_row(row))
    if refused:
        for row in await search.rows(select_refusals(search.query, search.as_of, refused)):
            of_refusals[row["request_id"]].append(row)
        for row in await search.rows(select_attempted(search.query, search.as_of, refused)):
            of_refusals.pop(row["request_id"], None)
    found = []
    for one in candidates:
        if one.position.rank == REFUSAL:
            rows = of_refusals.get(one.request_id, [])
            listed = bool(rows) and is_last_refusal(search.query, one, rows)
        else:
            rows = of_attempts[one.request_id]
            listed = stands_for_request(search.query, one, rows)
        if listed:
            found.append(_Found(one.position, rows))
    return found


async def _resolve_id(connection: AsyncConnection, tenant: str, given: str) -> list[str]:
    """Return the requests that an id, or its beginning, leads to. Raises ManyIds."""
    found: set[str] = set()
    # Beginnings of ids are found by indexes that row-level security does not let a tenant's statement use.
    async with as_service(connection):
        for statement in select_ids(tenant, given, window_of_id(given), MAX_IDS + 1):
            found.update(await connection.scalars(statement))
    if len(found) > MAX_IDS:
        raise ManyIds
    return sorted(found)


def _to_request(found: _Found) -> LoggedRequest:
    if found.position.rank == REFUSAL:
        return request_of_refusal(found.rows[0])
    return request_of_attempts(found.rows)
