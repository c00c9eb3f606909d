"""The ledger's table of attempts, read directly: cheaper than one command per request, and nothing can hide a row."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from services.usage_ledger.attempt_packing import whole_row
from tests.support.waiting import until


@dataclass(frozen=True)
class LedgerAttempt:
    """One row: the columns that tests of accounting need."""

    attempt_id: str
    request_id: str
    attempt_number: int
    operation: str | None
    endpoint: str | None
    model: str
    outcome: str
    failure: dict[str, Any] | None
    usage_source: str
    worker_id: str
    input_tokens: int
    output_tokens: int
    origin: str | None = None

    @property
    def failure_class(self) -> str | None:
        return None if self.failure is None else str(self.failure["failure_class"])

    @property
    def where(self) -> str | None:
        return None if self.failure is None else str(self.failure["where"])


@dataclass(frozen=True)
class LedgerTable:
    """The table of the system in `home`."""

    home: Path

    def of_operations(self, operations: list[str]) -> list[LedgerAttempt]:
        """Return the attempts of any of these operations. Raises psycopg.OperationalError while the server is away."""
        return self._select("operation = ANY(%s)", (operations,))

    def of_request(self, request_id: str, count: int) -> list[LedgerAttempt]:
        """Wait until a request has `count` attempts. Return them in order."""

        def rows() -> list[LedgerAttempt] | None:
            found = self._select("request_id = %s", (request_id,))
            return found if len(found) >= count else None

        return until(f"{count} ledger rows of {request_id}", rows)

    def of_operation(self, operation: str, count: int = 1) -> list[LedgerAttempt]:
        """Wait until `X-Operation: operation` has `count` attempts. Return them in order."""

        def rows() -> list[LedgerAttempt] | None:
            found = self._select("operation = %s", (operation,))
            return found if len(found) >= count else None

        return until(f"{count} ledger rows of the operation {operation}", rows)

    def _select(self, condition: str, values: tuple[object, ...]) -> list[LedgerAttempt]:
        url = (self.home / "secrets" / "database" / "usage_ledger.url").read_text().strip()
        query = (
            f"SELECT * FROM usage_ledger.attempts WHERE provider = 'custom' AND {condition}"
            " ORDER BY started_at, attempt_number"
        )
        with (
            psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), connect_timeout=5) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            rows = [whole_row(row) for row in cursor.execute(query.encode(), values)]
        names = [field.name for field in fields(LedgerAttempt)]
        return [LedgerAttempt(**{name: row[name] for name in names}) for row in rows]
