"""Which requests are handled once more after they have lost their connection to the database."""

import pytest

from keyferry.contracts.topology import SUBJECTS
from keyferry.runtime.lost_reads import note_lost_connection, note_statement, repeat_lost_read

CHANGING = (
    "INSERT INTO outbox VALUES (1)",
    "update tenants set name = ''",
    "WITH gone AS (DELETE FROM sessions RETURNING 1) SELECT * FROM gone",
    "SELECT 1 FROM tenants FOR UPDATE",
    "SELECT nextval('numbers')",
)


class Lost(Exception):
    """What a handler raises whose connection was lost."""


class Handler:
    """Fails so many times, after it has sent these statements."""

    def __init__(self, failures: int, *statements: str, lost: bool = True) -> None:
        self._failures, self._statements, self._lost = failures, statements, lost
        self.calls = 0

    async def __call__(self, question: str) -> str:
        self.calls += 1
        for statement in self._statements:
            note_statement(statement)
        if self.calls > self._failures:
            return question
        if self._lost:
            note_lost_connection()
        raise Lost


async def test_a_read_is_repeated_once() -> None:
    handler = Handler(1, "SELECT name, updated_at FROM tenants", "SET LOCAL ROLE NONE")
    assert await repeat_lost_read(handler, "tenant.get")("acme") == "acme"
    assert handler.calls == 2
    never = Handler(9)
    with pytest.raises(Lost):
        await repeat_lost_read(never, "tenant.get")("acme")
    assert never.calls == 2


@pytest.mark.parametrize("statement", CHANGING)
async def test_what_may_have_changed_something_is_not_repeated(statement: str) -> None:
    handler = Handler(1, "SELECT 1", statement, "SELECT 2")
    with pytest.raises(Lost):
        await repeat_lost_read(handler, "tenant.get")("acme")
    assert handler.calls == 1


async def test_another_error_is_not_repeated() -> None:
    handler = Handler(1, lost=False)
    with pytest.raises(Lost):
        await repeat_lost_read(handler, "tenant.get")("acme")
    assert handler.calls == 1


def test_requests_that_change_something_count_as_none_that_only_reads() -> None:
    changing = {"save", "create", "update", "remove", "revoke", "rotate", "lease", "grant", "record", "run", "delete"}
    reading = {subject.name for subject in SUBJECTS if subject.only_reads}
    assert {"tenant.get", "token.list", "usage.summarize", "analytics.break_down", "request.show"} <= reading
    assert {name for name in reading if changing & set(name.partition(".")[2].split("_"))} == set()
    assert all(subject.reply is not None for subject in SUBJECTS if subject.only_reads)
