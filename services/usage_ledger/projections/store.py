"""When each projection was last checked, and what was found: one process checks, and all of them report it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import text

from keyferry.contracts.projections import CheckedProjection
from services.usage_ledger.database import TransactionalStore

_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('usage_ledger projection checks', 0))")
_DUE = text("SELECT name FROM usage_ledger.projection_checks WHERE checked_at > :since")
_READ = text("SELECT report FROM usage_ledger.projection_checks ORDER BY name")
_SAVE = text("""
INSERT INTO usage_ledger.projection_checks (name, checked_at, report) VALUES (:name, :now, CAST(:report AS jsonb))
ON CONFLICT (name) DO UPDATE SET checked_at = excluded.checked_at, report = excluded.report
""")


class CheckStore(TransactionalStore):
    """The table of checks. Every method raises DatabaseUnavailable."""

    @asynccontextmanager
    async def elected(self) -> AsyncIterator[bool]:
        """Yield whether this process may check now; no other one may before the end of the block."""
        async with self.transaction() as connection:
            yield bool(await connection.scalar(_LOCK))

    async def checked_since(self, moment: datetime) -> set[str]:
        """Return the projections that were checked after a moment."""
        async with self.transaction() as connection:
            return set(await connection.scalars(_DUE, {"since": moment}))

    async def save(self, report: CheckedProjection, now: datetime) -> None:
        """Store what a check has found."""
        async with self.transaction() as connection:
            await connection.execute(_SAVE, {"name": report.name, "now": now, "report": report.encode().decode()})

    async def read(self) -> list[CheckedProjection]:
        """Return what the last check of each projection has found."""
        async with self.transaction() as connection:
            found = await connection.scalars(_READ)
            return [CheckedProjection.model_validate(report) for report in found]
