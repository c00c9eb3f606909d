"""Which candidates of a search stand for their request, so that a request is listed once; and the merge of both tables. Pure."""

import heapq
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from keyferry.contracts.request_cursor import ATTEMPT, REFUSAL, Position
from keyferry.contracts.request_log import RequestFilter
from services.usage_ledger.request_log.entries import Row
from services.usage_ledger.request_log.facets import has_words, words_of

_LATEST = datetime.max.replace(tzinfo=UTC)


class LogCandidate(NamedTuple):
    """An attempt or a refusal that a search has found, at its place in the list."""

    position: Position
    request_id: str


def merge_candidates(of_attempts: Sequence[Row], of_refusals: Sequence[Row], limit: int) -> list[LogCandidate]:
    """Return the first `limit` of both, newest first; at one moment attempts come before refusals. Each is in order already."""
    parts = (
        [LogCandidate(Position(row["at"], rank, row["id"]), row["request_id"]) for row in rows]
        for rank, rows in ((ATTEMPT, of_attempts), (REFUSAL, of_refusals))
    )
    merged = heapq.merge(*parts, key=lambda found: (_LATEST - found.position.at, found.position.rank))
    return list(merged)[:limit]


def stands_for_request(query: RequestFilter, candidate: LogCandidate, rows: Sequence[Row]) -> bool:
    """Return whether an attempt is the one by which its request is listed; `rows` are all of the request's, in order.

    With an outcome that is its last attempt, else the latest of those that match.
    """
    words = words_of(query.text or "")
    matching = [row for row in rows if row["matches"] and has_words((row["failure"] or {}).get("message"), words)]
    if query.outcome is not None:
        return bool(matching) and matching[-1] is rows[-1] and rows[-1]["attempt_id"] == candidate.position.id
    latest = max(matching, key=lambda row: (row["started_at"], row["attempt_id"]), default=None)
    return latest is not None and latest["attempt_id"] == candidate.position.id


def is_last_refusal(query: RequestFilter, candidate: LogCandidate, rows: Sequence[Row]) -> bool:
    """Return whether a refusal is the one by which its request is listed; `rows` are all of the request's, the last one first."""
    return rows[0]["decision_id"] == candidate.position.id and has_words(rows[0]["message"], words_of(query.text or ""))
