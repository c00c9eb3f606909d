"""Cursors of the request log: where a page ended, of which tenant and filter, and what had been recorded by then. Pure.

Newest first: by moment, at one moment attempts before refusals, then by id from the greatest. A cursor is not signed: a
forged one can only name another place in the tenant's own list.
"""

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from keyferry.contracts.request_log import ListRequests, RequestFilter
from keyferry.contracts.text import is_safe

ATTEMPT, REFUSAL, END = 0, 1, 2
"""What is at a position: an attempt, a refusal, or nothing, after everything of that moment."""
Rank = Literal[0, 1, 2]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_MARK_BYTES = 9


class InvalidCursor(ValueError):
    """A cursor that cannot be used; the message says why."""


class Position(NamedTuple):
    """A place in the list."""

    at: datetime
    rank: int
    id: str


class RequestCursor(NamedTuple):
    """The place after which a page begins, and the moment until which records count."""

    as_of: datetime
    position: Position


def encode_cursor(cursor: RequestCursor, query: RequestFilter) -> str:
    """Return the text of a cursor for the pages of `query`."""
    fields = [_mark(query), _to_us(cursor.as_of), _to_us(cursor.position.at), cursor.position.rank, cursor.position.id]
    text = json.dumps(fields, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode_cursor(text: str, query: RequestFilter) -> RequestCursor:
    """Return the cursor that `text` writes. Raises InvalidCursor, also for a cursor of another tenant or filter."""
    try:
        fields = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        mark, as_of, at, rank, id_ = fields
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise InvalidCursor("this is no cursor: pass the `next` of a page as it is") from None
    numbers = all(type(value) is int and 0 <= value < _LATEST for value in (as_of, at))
    if not numbers or rank not in (ATTEMPT, REFUSAL, END) or not isinstance(id_, str) or not _is_id(id_):
        raise InvalidCursor("this is no cursor: pass the `next` of a page as it is")
    if mark != _mark(query):
        raise InvalidCursor(
            "this cursor is of another tenant or other filters: keep the filters from page to page, or begin without a cursor"
        )
    return RequestCursor(_EPOCH + as_of * _MICROSECOND, Position(_EPOCH + at * _MICROSECOND, rank, id_))


def _mark(query: RequestFilter) -> str:
    """Return a digest of a tenant and its filter; every field that only pages is left out."""
    paging = ListRequests.model_fields.keys() - RequestFilter.model_fields.keys()
    given = query.model_dump_json(exclude=set(paging), exclude_none=True)
    return base64.urlsafe_b64encode(hashlib.sha256(given.encode()).digest()[:_MARK_BYTES]).decode()


def _is_id(text: str) -> bool:
    return len(text) <= 200 and text.isascii() and is_safe(text)


def _to_us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
