"""The statements of the request log. Every value is a bound parameter."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    any_,
    cast,
    column,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)

from keyferry.contracts.ids import DECISION
from keyferry.contracts.request_cursor import ATTEMPT, END, REFUSAL, Position
from keyferry.contracts.request_log import RequestFilter, RequestOutcome
from services.usage_ledger.attempt_packing import uuid_range
from services.usage_ledger.corrections import WITH_CORRECTIONS, as_recorded, corrected_attempts, current_column
from services.usage_ledger.database import STORED_TRACE_ID, TOKEN_KINDS, attempts, decisions
from services.usage_ledger.request_log.facets import FacetChoice, TimeSpan, words_of
from services.usage_ledger.request_log.tables import facets, refused_requests

Rows = Select[tuple[Any, ...]]

_TIME = DateTime(timezone=True)
_HEX = frozenset("0123456789abcdef")
_INDEXED_CHARACTERS = 5
"""Of a trace id: the traces of a month that share them are few, and their rows share an entry of the index."""
_INDEXED = literal_column(str(_INDEXED_CHARACTERS), Integer)
_SHARED_COLUMNS = (
    *("request_id", "decision_id", "attempt_number", "kind", "stream", "model_asked", "operation", "power_level"),
    *("team", "member", "client_token_id", "tags", "trace_id", "recorded_at"),
)
ATTEMPT_COLUMNS = (
    *("tenant", "decision_uuid", "trace_uuid", "packed"),
    *("attempt_id", *_SHARED_COLUMNS, "provider", "endpoint", "model", "model_served", "charged_level"),
    *("key_source", "key_id", "outcome", "failure", "finish_reason", "usage_source", "pricing"),
    *(f"{kind}_tokens" for kind in TOKEN_KINDS),
    *("cost_usd", "price_version", "charge_micro_usd", "absorbed_micro_usd", "spend_micro_usd", "plan_version"),
    *("started_at", "latency_ms", "first_token_ms"),
)


def select_facets(tenant: str, choices: Sequence[FacetChoice], first_day: int, last_day: int) -> Rows:
    """Select name, day and quarters of these facets."""
    columns = facets.c
    names = [name for choice in choices for name in choice]
    return select(columns.name, columns.day, columns.quarters).where(
        columns.tenant == tenant, columns.name == _any_of(names), columns.day.between(first_day, last_day)
    )


def select_candidates(
    query: RequestFilter,
    spans: Sequence[TimeSpan],
    below: Position | None,
    as_of: datetime,
    request_ids: Sequence[str] | None,
    limit: int,
) -> list[Rows | None]:
    """Select the latest attempts and refusals that match, in these spans and after `below`; None where nothing can match."""
    tables: list[tuple[Any, Any, Any, int, list[ColumnElement[bool]] | None]] = [
        (attempts, attempts.c.started_at, attempts.c.attempt_id, ATTEMPT, _matches(attempts.c, query)),
        (
            refused_requests,
            refused_requests.c.decided_at,
            refused_requests.c.decision_id,
            REFUSAL,
            _refusal_matches(refused_requests.c, query),
        ),
    ]
    return [
        None
        if own is None
        else _latest(
            *(table, at, key),
            [*_recorded(table, query, as_of, request_ids), *own, *_after(at, key, rank, below)],
            *(spans, limit),
        )
        for table, at, key, rank, own in tables
    ]


def select_attempts(query: RequestFilter, as_of: datetime, request_ids: Sequence[str], *, brief: bool) -> Rows:
    """Select the attempts of these requests in the filter's span of time, and whether each matches by itself."""
    columns = attempts.c
    names = ("attempt_id", "request_id", "attempt_number", "started_at", "failure") if brief else ATTEMPT_COLUMNS
    matching = and_(true(), *(_matches(columns, query) or ())).label("matches")
    return (
        select(*(current_column(name).label(name) for name in names), *([] if brief else as_recorded()), matching)
        .select_from(WITH_CORRECTIONS)
        .where(*_recorded(attempts, query, as_of, request_ids), *_within(columns.started_at, query))
        .order_by(columns.request_id, columns.attempt_number, columns.started_at, columns.attempt_id)
    )


def select_refusals(query: RequestFilter, as_of: datetime, request_ids: Sequence[str]) -> Rows:
    """Select the refusals of these requests, each request's last one first."""
    columns = refused_requests.c
    return (
        select(refused_requests)
        .where(*_recorded(refused_requests, query, as_of, request_ids))
        .order_by(
            columns.request_id, columns.attempt_number.desc(), columns.decided_at.desc(), columns.decision_id.desc()
        )
    )


def select_attempted(query: RequestFilter, as_of: datetime, request_ids: Sequence[str]) -> Rows:
    """Select which of these requests have an attempt at any time."""
    return select(attempts.c.request_id).distinct().where(*_recorded(attempts, query, as_of, request_ids))


def select_ids(tenant: str, given: str, window: TimeSpan | None, limit: int) -> list[Rows]:
    """Select the ids of requests that have the id `given`, or one that begins with it; each statement at most `limit`.

    Ids of decisions have an index for as long as decisions are kept; older ones are looked for in `window`.
    """
    prefix = escape_like(given) + "%"
    found: list[Rows] = []
    kind = given[:4]
    of_attempts, of_refusals = attempts.c, refused_requests.c
    if kind not in ("att_", "dec_"):
        found += [_ids(table, tenant, table.c.request_id.like(prefix), limit) for table in (attempts, refused_requests)]
        if set(given) <= _HEX:
            indexed = func.left(func.coalesce(of_attempts.trace_id, cast(of_attempts.trace_uuid, Text)), _INDEXED)
            # The database has to see that rows without a trace, which the index does not have, are not asked for.
            traced = or_(of_attempts.trace_id.is_not(None), of_attempts.trace_uuid.is_not(None))
            begins = and_(traced, indexed == given[:_INDEXED_CHARACTERS], STORED_TRACE_ID.like(prefix))
            found.append(_ids(attempts, tenant, begins, limit))
            found.append(_ids(refused_requests, tenant, of_refusals.trace_id.like(prefix), limit))
    if kind == "att_":
        found.append(_ids(attempts, tenant, of_attempts.attempt_id.like(prefix), limit))
    if kind == "dec_":
        found.append(_ids(decisions, tenant, decisions.c.decision_id.like(prefix), limit))
        found.append(_ids(refused_requests, tenant, of_refusals.decision_id.like(prefix), limit))
        if window is not None:
            in_window = and_(of_attempts.started_at >= window.since, of_attempts.started_at < window.until)
            found.append(_ids(attempts, tenant, and_(in_window, _is_decided_by(of_attempts, given)), limit))
    return found


def _is_decided_by(columns: Any, given: str) -> ColumnElement[bool]:
    """Return the condition that the id of an attempt's decision begins with `given`, in whichever form it is stored."""
    stored = columns.decision_id.like(escape_like(given) + "%")
    uuids = uuid_range(DECISION, given)
    return stored if uuids is None else or_(stored, columns.decision_uuid.between(*(UUID(each) for each in uuids)))


def escape_like(text: str) -> str:
    """Return a pattern of LIKE that matches exactly `text`."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _ids(table: Any, tenant: str, condition: ColumnElement[bool], limit: int) -> Rows:
    return select(table.c.request_id).distinct().where(table.c.tenant == tenant, condition).limit(limit)


def _latest(
    table: Any,
    at: ColumnElement[datetime],
    key: ColumnElement[str],
    conditions: Sequence[ColumnElement[bool]],
    spans: Sequence[TimeSpan],
    limit: int,
) -> Rows:
    """Select id, request and moment of the latest rows in any of these spans; in each the index by time is read from its end."""
    chosen = select(key.label("id"), table.c.request_id, at.label("at")).where(*conditions)
    if len(spans) == 1:
        return chosen.where(at >= spans[0].since, at < spans[0].until).order_by(at.desc(), key.desc()).limit(limit)
    begins, ends = ([getattr(span, name) for span in spans] for name in ("since", "until"))
    given: FromClause = (
        func.unnest(cast(literal(begins, ARRAY(_TIME)), ARRAY(_TIME)), cast(literal(ends, ARRAY(_TIME)), ARRAY(_TIME)))
        .table_valued(column("since", _TIME), column("until", _TIME), name="span")
        .render_derived()
    )
    part = (
        chosen.where(at >= given.c.since, at < given.c.until)
        .order_by(at.desc(), key.desc())
        .limit(limit)
        .correlate(given)
        .lateral("part")
    )
    return (
        select(part.c.id, part.c.request_id, part.c.at)
        .select_from(given.join(part, true()))
        .order_by(part.c.at.desc(), part.c.id.desc())
        .limit(limit)
    )


def _recorded(
    table: Any, query: RequestFilter, as_of: datetime, request_ids: Sequence[str] | None
) -> list[ColumnElement[bool]]:
    conditions = [table.c.tenant == query.tenant, table.c.recorded_at <= as_of]
    if request_ids is not None:
        conditions.append(table.c.request_id == _any_of(request_ids))
    return conditions


def _any_of(values: Sequence[str]) -> ColumnElement[bool]:
    return any_(cast(literal(list(values), ARRAY(Text)), ARRAY(Text)))


def _within(at: ColumnElement[datetime], query: RequestFilter) -> list[ColumnElement[bool]]:
    since = [at >= query.since] if query.since is not None else []
    return [*since, at < query.until] if query.until is not None else since


def _after(
    at: ColumnElement[datetime], key: ColumnElement[str], rank: int, below: Position | None
) -> list[ColumnElement[bool]]:
    """Return the condition for what comes after a position. At one moment attempts come before refusals."""
    if below is None:
        return []
    if below.rank == rank:
        return [at <= below.at, tuple_(at, key) < tuple_(literal(below.at, _TIME), literal(below.id))]
    return [at <= below.at if below.rank < rank and below.rank != END else at < below.at]


def _matches(columns: Any, query: RequestFilter) -> list[ColumnElement[bool]] | None:
    """Return what the filter asks of an attempt by itself, apart from its time; None if no attempt can match."""
    if query.outcome is RequestOutcome.REFUSED:
        return None
    wanted = {
        "outcome": query.outcome,
        "failure_class": query.error_class,
        "key_source": query.key_source,
        "key_id": query.key_id,
        **_shared(query),
    }
    conditions = [columns[name] == str(value) for name, value in wanted.items() if value is not None]
    if query.provider is not None:
        conditions.append(or_(columns.provider == query.provider, columns.endpoint == query.provider))
    if query.model is not None:
        names = (columns.model_asked, columns.model, columns.model_served)
        conditions.append(or_(*(name == query.model for name in names)))
    if query.min_cost_usd is not None:
        corrected = select(corrected_attempts.c.cost_usd).where(corrected_attempts.c.attempt_id == columns.attempt_id)
        cost = func.coalesce(corrected.correlate(attempts).scalar_subquery(), columns.cost_usd)
        conditions.append(cost >= query.min_cost_usd)
    if query.min_latency_ms is not None:
        conditions.append(columns.latency_ms >= query.min_latency_ms)
    return [*conditions, *_tag(columns.tags, query), *_words(columns.failure["message"].as_string(), query)]


def _refusal_matches(columns: Any, query: RequestFilter) -> list[ColumnElement[bool]] | None:
    """Return what the filter asks of a refusal by itself, apart from its time; None if no refusal can match."""
    of_attempts = (query.provider, query.key_source, query.key_id, query.min_cost_usd, query.min_latency_ms)
    if query.outcome not in (None, RequestOutcome.REFUSED) or any(value is not None for value in of_attempts):
        return None
    wanted = {"failure_class": query.error_class, "model_asked": query.model, **_shared(query)}
    conditions = [columns[name] == str(value) for name, value in wanted.items() if value is not None]
    return [*conditions, *_tag(columns.tags, query), *_words(columns.message, query)]


def _shared(query: RequestFilter) -> dict[str, object]:
    return {
        "operation": query.operation,
        "power_level": query.level,
        "client_token_id": query.client_token_id,
        "team": query.team,
        "member": query.member,
    }


def _tag(tags: Any, query: RequestFilter) -> list[ColumnElement[bool]]:
    if query.tag_name is None:
        return []
    if query.tag_value is None:
        return [tags.has_key(query.tag_name)]
    return [tags[query.tag_name].as_string() == query.tag_value]


def _words(message: Any, query: RequestFilter) -> list[ColumnElement[bool]]:
    """Return a condition that every message with the words fulfils; `has_words` decides about the others.

    PostgreSQL and Python agree on the case of ASCII letters only.
    """
    words = [] if query.text is None else words_of(query.text)
    conditions = [message.ilike(f"%{escape_like(word)}%") for word in words if word.isascii()]
    return conditions if conditions or not words else [message.is_not(None)]
