"""Checks projections every hour, in one process at a time, and on request; any difference marks the service as degraded.

The hourly check compares what has changed since the last one; on request everything is compared.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from keyferry.contracts.ledger_management import PROJECTION_REBUILD
from keyferry.contracts.projections import CheckedProjection, RebuildProjections, RebuiltProjections
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.usage_ledger.database_outage import refuse_outages
from services.usage_ledger.projections.registry import HourlyChecked, Rebuildable, UnknownProjection, choose_projections
from services.usage_ledger.projections.store import CheckStore

_log = logging.getLogger(__name__)

CHECK_EVERY = timedelta(hours=1)
_LOOK_SECONDS = 60.0
"""How often a process looks whether a check is due, and what the last ones have found."""

Audit = Callable[[str, str, str, dict[str, str]], Awaitable[None]]
"""Records actor, action, target and details. Raises DatabaseUnavailable and nats-py's errors."""


class ProjectionWatch:
    """The task, the handler of the request, and what the last checks have found."""

    def __init__(
        self, store: CheckStore, projections: Sequence[Rebuildable], audit: Audit, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._projections = projections
        self._audit = audit
        self._clock = clock
        self._found: list[CheckedProjection] = []
        self._task: asyncio.Task[None] | None = None

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`. Call before it is started."""
        bus.respond(PROJECTION_REBUILD, self.rebuild)

    async def start(self) -> None:
        """Start to check. Call it after the database was opened."""
        self._task = asyncio.create_task(self._run(), name="check projections")

    async def stop(self) -> None:
        """Stop; a check that was begun is given up."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    def degraded(self) -> list[str]:
        """Return what an operator has to know of the last checks."""
        return [
            f"{report.different} of {report.compared} {report.name} are not what the records give"
            f" ({report.differences[0].subject}): `keyferry ledger rebuild --check` shows all,"
            " `keyferry ledger rebuild` replaces them"
            for report in self._found
            if report.different
        ]

    async def rebuild(self, command: RebuildProjections) -> RebuiltProjections:
        """Compare projections with their records, or replace them. Raises Refused."""
        try:
            chosen = choose_projections(self._projections, command.projection)
        except UnknownProjection as error:
            message = f"there is no projection of this name: there are {error}"
            raise Refused(ErrorCode.NOT_FOUND, message) from None
        with refuse_outages():
            if not command.check:
                names = ", ".join(projection.name for projection in chosen)
                await self._audit(command.actor, "ledger.rebuild", f"projections {names}", {})
            reports = [await self._compute(projection, check=command.check) for projection in chosen]
            self._found = await self._store.read()
        return RebuiltProjections(projections=reports, replaced=not command.check, at=self._clock())

    async def check_due(self) -> list[str]:
        """Check those projections that nobody has checked for an hour, unless another process does; return their names."""
        async with self._store.elected() as elected:
            recent = await self._store.checked_since(self._clock() - CHECK_EVERY) if elected else set()
            hourly = [each for each in self._projections if isinstance(each, HourlyChecked)] if elected else []
            due = [each for each in hourly if each.name not in recent]
            differed = {report.name for report in await self._store.read() if report.different} if due else set()
            for projection in due:
                # What a whole check has found is not forgotten before a whole check finds it no more.
                report = await (projection.check() if projection.name in differed else projection.check_recent())
                await self._store.save(report, self._clock())
                if report.different:
                    _log.error(
                        "a projection is not what its records give; `keyferry ledger rebuild --check` shows it",
                        extra={"projection": report.name, "different": report.different},
                    )
        self._found = await self._store.read()
        return [projection.name for projection in due]

    async def _compute(self, projection: Rebuildable, *, check: bool) -> CheckedProjection:
        """Check or rebuild one, and store what is left to say of it."""
        report = await projection.check() if check else await projection.rebuild()
        remaining = report if check else report.model_copy(update={"different": 0, "differences": []})
        await self._store.save(remaining, self._clock())
        return report

    async def _run(self) -> None:
        while True:
            try:
                await self.check_due()
            except (DatabaseUnavailable, SQLAlchemyError) as error:
                _log.warning("projections cannot be checked now, retrying", extra={"error": type(error).__name__})
            await asyncio.sleep(_LOOK_SECONDS)
