"""Cursors come back as they were, and nothing else is taken for one."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts.request_cursor import (
    ATTEMPT,
    END,
    REFUSAL,
    InvalidCursor,
    Position,
    RequestCursor,
    decode_cursor,
    encode_cursor,
)
from keyferry.contracts.request_log import ListRequests

NOW = datetime(2026, 11, 29, 12, 0, 0, 123457, tzinfo=UTC)
QUERY = ListRequests(tenant="acme", provider="groq")


@pytest.mark.parametrize("rank", [ATTEMPT, REFUSAL, END])
@pytest.mark.parametrize("at", [datetime(1970, 1, 1, tzinfo=UTC), NOW, datetime(2200, 1, 1, tzinfo=UTC)])
def test_a_cursor_comes_back_for_every_page_of_its_query(rank: int, at: datetime) -> None:
    cursor = RequestCursor(NOW, Position(at, rank, "att_1"))
    text = encode_cursor(cursor, QUERY)
    for page in (QUERY, QUERY.model_copy(update={"limit": 7, "after": text, "count": True, "settled": True})):
        assert decode_cursor(text, page) == cursor
    ListRequests(tenant="acme", after=text)


@pytest.mark.parametrize(
    "changed", [{"tenant": "other"}, {"provider": None}, {"provider": "openai"}, {"since": NOW}, {"team": "groq"}]
)
def test_a_cursor_of_another_query_is_refused(changed: dict[str, object]) -> None:
    text = encode_cursor(RequestCursor(NOW, Position(NOW, ATTEMPT, "att_1")), QUERY)
    with pytest.raises(InvalidCursor, match="another tenant or other filters"):
        decode_cursor(text, QUERY.model_copy(update=changed))


def test_what_is_no_cursor_is_refused() -> None:
    valid = encode_cursor(RequestCursor(NOW, Position(NOW, ATTEMPT, "att_1")), QUERY)
    mark, as_of, at, rank, id_ = json.loads(base64.urlsafe_b64decode(valid + "=" * (-len(valid) % 4)))
    wrong: list[object] = [
        [mark, as_of, at, rank],
        [mark, as_of, at, rank, id_, 1],
        [mark, str(as_of), at, rank, id_],
        [mark, as_of, -1, rank, id_],
        [mark, as_of, 10**18, rank, id_],
        [mark, as_of, 1e300, rank, id_],
        [mark, as_of, at, 3, id_],
        [mark, as_of, at, rank, None],
        [mark, as_of, at, rank, "a\x00"],
        [mark, as_of, at, rank, "\ud800"],
        [mark, as_of, at, rank, "x" * 201],
        {"mark": mark},
        None,
        7,
    ]
    texts = [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in wrong]
    for text in (*texts, "", "x", "====", valid[:-4], "[" * 100, "W1tb" * 10_000):
        with pytest.raises(InvalidCursor):
            decode_cursor(text, QUERY)


def test_moments_are_exact_to_the_microsecond() -> None:
    for microseconds in range(5):
        at = NOW + timedelta(microseconds=microseconds)
        text = encode_cursor(RequestCursor(at, Position(at, ATTEMPT, "")), QUERY)
        assert decode_cursor(text, QUERY).position.at == at
