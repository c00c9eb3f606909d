"""Which errors of PostgreSQL are a row's, how a bad row is found, and which settings of the server are accepted.

The connection is scripted: it takes the rows of a statement, or raises the error that PostgreSQL would.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import TextClause
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.usage_ledger.store import LedgerStore, NotDurable
from tests.support.ledger.attempt_records import decision_record

MANY = 128


class Server:
    """Takes every decision except those of the tenant `bad`, for which it raises `error`."""

    def __init__(
        self, error: type[psycopg.Error] = errors.CheckViolation, settings: Mapping[str, str] | None = None
    ) -> None:
        self.error = error
        self.settings = {"synchronous_commit": "on", "fsync": "on"} | dict(settings or {})
        self.statements = 0

    async def scalar(self, statement: TextClause) -> str | datetime:
        if "packed_from" in str(statement):
            return datetime(1970, 1, 1, tzinfo=UTC)
        return self.settings[str(statement).removeprefix("SHOW ")]

    async def execute(self, statement: object, values: Mapping[str, str]) -> SimpleNamespace:
        self.statements += 1
        rows = json.loads(values["rows"])
        if any(row["tenant"] == "bad" for row in rows):
            raise DBAPIError("INSERT", {}, self.error())
        scalars: Callable[[], list[str]] = lambda: [row["decision_id"] for row in rows]  # noqa: E731
        return SimpleNamespace(scalars=scalars)


class StoreOn(LedgerStore):
    def __init__(self, server: Server) -> None:
        super().__init__(cast(AsyncEngine, None))
        self._server = server

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        yield cast(AsyncConnection, self._server)


@pytest.mark.parametrize("error", [errors.UndefinedTable, errors.InsufficientPrivilege, errors.RaiseException])
async def test_an_error_that_is_not_about_the_row_rejects_no_row(error: type[psycopg.Error]) -> None:
    bad = decision_record(tenant="bad")
    with pytest.raises(DBAPIError):
        await StoreOn(Server(error)).record_decisions([bad], bad.decided_at)


@pytest.mark.parametrize("at", [0, 1, MANY // 2, MANY - 1])
async def test_one_bad_row_is_found_in_few_statements(at: int) -> None:
    server = Server()
    records = [decision_record(tenant="bad" if index == at else "acme") for index in range(MANY)]
    result = await StoreOn(server).record_decisions(records, records[0].decided_at)
    assert list(result.rejected) == [at]
    assert result.new == {record.decision_id for record in records if record.tenant == "acme"}
    assert server.statements <= 2 * MANY.bit_length()


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"fsync": "off"}, "fsync is 'off'"), ({"synchronous_commit": "local"}, "synchronous_commit is 'local'")],
)
async def test_a_server_that_may_lose_commits_is_named(settings: dict[str, str], named: str) -> None:
    with pytest.raises(NotDurable, match=named):
        await StoreOn(Server(settings=settings)).require_durability()
    await StoreOn(Server()).require_durability()
