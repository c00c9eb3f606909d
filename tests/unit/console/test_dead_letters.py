"""Dead letters over HTTP: exactly those that the operator has seen are listed and removed."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.dead_letters import (
    DeadLetterDetail,
    GetDeadLetter,
    ReplayDeadLetters,
    ReplayedLetter,
    ReplayedLetters,
    ReplayOutcome,
)
from keyferry.contracts.ledger_management import DEAD_LETTER_GET, DEAD_LETTER_REPLAY
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


async def test_one_is_shown_whole() -> None:
    detail = DeadLetterDetail(
        **ENTRY.model_dump(exclude={"original"}), hint="Upgrade the ledger.", original_base64="fXsA"
    )
    surface = Surface()
    surface.bus.answers(DEAD_LETTER_GET, detail)
    response = await surface.ask("GET", f"{PATH}/8")
    assert (response.status_code, DeadLetterDetail.model_validate(response.json()).original) == (200, b"}{\0")
    assert surface.bus.asked == [(DEAD_LETTER_GET.name, GetDeadLetter(number=8))]


@pytest.mark.parametrize(
    "body", [{"number": 8, "copy_base64": "e30="}, {"after": 8, "up_to": 20, "reason": "Outcome"}, {}]
)
async def test_what_was_asked_for_is_replayed(body: dict[str, object]) -> None:
    surface = Surface()
    letter = ReplayedLetter(number=8, outcome=ReplayOutcome.REFUSED, detail="outcome: it should be", number_now=21)
    surface.bus.answers(DEAD_LETTER_REPLAY, ReplayedLetters(letters=[letter], up_to=20))
    response = await surface.ask("POST", f"{PATH}/replay", body)
    assert (response.status_code, response.json()["letters"][0]["outcome"]) == (200, "refused")
    expected = ReplayDeadLetters.model_validate(body | {"actor": "console:operator"})
    assert surface.bus.asked == [(DEAD_LETTER_REPLAY.name, expected)]


@pytest.mark.parametrize(
    "body",
    [
        {"number": 0},
        {"number": "8"},
        {"number": 2**63},
        {"after": -1},
        {"reason": "a\x00b"},
        {"reason": ""},
        {"copy_base64": "no base64!"},
        {"every": True},
    ],
)
async def test_a_replay_that_cannot_be_read_reaches_no_ledger(body: dict[str, object]) -> None:
    surface = Surface()
    response = await surface.ask("POST", f"{PATH}/replay", body)
    assert error(response)[0] in (400, 422)
    assert surface.bus.asked == []


@pytest.mark.parametrize("body", [{}, {"up_to": 0}, {"up_to": None}, {"up_to": "all"}, {"up_to": 1, "all": True}])
async def test_without_a_number_nothing_is_removed(body: dict[str, object]) -> None:
    surface = Surface()
    response = await surface.ask("POST", f"{PATH}/discard", body)
    assert error(response)[0] in (400, 422)
    assert surface.bus.asked == []
