"""A new stream is asked for again while its cluster is still forming, and is refused at once for any other reason."""

from collections import deque
from typing import Any

import pytest

from deploy.nats import provision
from deploy.nats.provision import ask_until_placed

FORMING = {"error": {"code": 400, "err_code": 10005, "description": "no suitable peers"}}
NO_SPACE = {"error": {"code": 500, "err_code": 10047, "description": "insufficient storage resources available"}}
CREATED: dict[str, Any] = {"config": {"name": "ATTEMPTS"}}


@pytest.mark.parametrize(
    ("replicas", "answers", "last"),
    [
        (3, [FORMING, FORMING, CREATED], CREATED),
        (3, [CREATED], CREATED),
        (3, [FORMING, NO_SPACE], NO_SPACE),
        (1, [FORMING], FORMING),
    ],
    ids=["the servers join", "at once", "another reason", "a single server"],
)
async def test_is_asked_for_again_while_servers_join(
    replicas: int, answers: list[dict[str, Any]], last: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "_ASK_AGAIN_SECONDS", 0.0)
    waiting = deque(answers)

    async def ask() -> dict[str, Any]:
        return waiting.popleft()

    assert await ask_until_placed(replicas, ask) is last
    assert not waiting


async def test_the_refusal_is_returned_if_no_server_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision, "_ASK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(provision, "_LEADER_SECONDS", 0.01)

    async def ask() -> dict[str, Any]:
        return FORMING

    assert await ask_until_placed(3, ask) is FORMING
