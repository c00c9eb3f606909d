"""Dead letters over HTTP: exactly those that the operator has seen are listed and removed."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.topology import DEAD_LETTER_DISCARD, DEAD_LETTER_LIST
from keyferry.contracts.usage import (
    DeadLetterEntry,
    DeadLetters,
    DiscardDeadLetters,
    Discarded,
    ListDeadLetters,
)
from tests.unit.console.surface import Surface, error

PATH = "/api/v1/ops/dead-letters"
ENTRY = DeadLetterEntry(
    number=8,
    at=datetime(2026, 3, 1, tzinfo=UTC),
    producer="provider-worker-1",
    stream="ATTEMPTS",
    reason="AttemptRecord: outcome: it should be",
    size_bytes=3,
    original="}{",
)


@pytest.mark.parametrize(("query", "after"), [("", 0), ("?after=7", 7)])
async def test_a_page_follows_the_number_that_was_asked_for(query: str, after: int) -> None:
    surface = Surface()
    surface.bus.answers(DEAD_LETTER_LIST, DeadLetters(total=9, entries=[ENTRY]))
    response = await surface.ask("GET", f"{PATH}{query}")
    assert response.status_code == 200
    assert (response.json()["total"], response.json()["entries"][0]["number"]) == (9, 8)
    assert surface.bus.asked == [(DEAD_LETTER_LIST.name, ListDeadLetters(after=after))]


async def test_no_more_are_removed_than_the_operator_has_seen() -> None:
    surface = Surface()
    surface.bus.answers(DEAD_LETTER_DISCARD, Discarded(discarded=8, left=1))
    response = await surface.ask("POST", f"{PATH}/discard", {"up_to": 8})
    assert (response.status_code, response.json()) == (200, {"discarded": 8, "left": 1})
    assert surface.bus.asked == [(DEAD_LETTER_DISCARD.name, DiscardDeadLetters(up_to=8, actor="console:operator"))]


@pytest.mark.parametrize("body", [{}, {"up_to": 0}, {"up_to": None}, {"up_to": "all"}, {"up_to": 1, "all": True}])
async def test_without_a_number_nothing_is_removed(body: dict[str, object]) -> None:
    surface = Surface()
    response = await surface.ask("POST", f"{PATH}/discard", body)
    assert error(response)[0] in (400, 422)
    assert surface.bus.asked == []
