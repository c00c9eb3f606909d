"""The query for a part of a tenant's client tokens."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, or_, select, tuple_

from keyferry.contracts.tenancy import ListClientTokens, TokenState
from services.tenant_directory.tables import tokens_table

_SEARCHED = ("label", "token_id", "last4", "team", "member")


def select_tokens(query: ListClientTokens, now: datetime) -> Select[Any]:
    """Return the query for the tokens that a list has, and for one more, which says whether others follow."""
    columns = tokens_table.c
    order = (columns.created_at, columns.token_id)
    statement = select(tokens_table).where(*_conditions(query, now))
    if query.after is not None:
        place = tuple_(*order)
        position = (
            select(*order).where(columns.tenant == query.tenant, columns.token_id == query.after).scalar_subquery()
        )
        statement = statement.where(place < position if query.newest_first else place > position)
    statement = statement.order_by(*(column.desc() if query.newest_first else column for column in order))
    return statement if query.limit is None else statement.limit(query.limit + 1)


def _conditions(query: ListClientTokens, now: datetime) -> list[ColumnElement[bool]]:
    columns = tokens_table.c
    found = [columns.tenant == query.tenant]
    found += [
        columns[name] == value for name in ("token_id", "member", "team") if (value := getattr(query, name)) is not None
    ]
    if query.text is not None:
        found.append(or_(false(), *(columns[name].icontains(query.text, autoescape=True) for name in _SEARCHED)))
    if query.state is not None:
        found.append(_in_state(query.state, now))
    return found


def _in_state(state: TokenState, now: datetime) -> ColumnElement[bool]:
    columns = tokens_table.c
    ended = and_(columns.expires_at.is_not(None), columns.expires_at <= now)
    match state:
        case TokenState.REVOKED:
            return columns.revoked_at.is_not(None)
        case TokenState.EXPIRED:
            return and_(columns.revoked_at.is_(None), ended)
        case TokenState.DISABLED:
            return and_(columns.revoked_at.is_(None), ~ended, columns.disabled_at.is_not(None))
        case TokenState.ACTIVE:
            return and_(columns.revoked_at.is_(None), ~ended, columns.disabled_at.is_(None))
