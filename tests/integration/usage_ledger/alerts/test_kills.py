"""A process that evaluates is killed between any two of its steps: nothing is lost, nothing happens twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.alert_events import AlertChanged, ReportAlert
from keyferry.contracts.alert_rules import SaveAlertRule
from keyferry.contracts.alerts import AlertState
from keyferry.contracts.tenancy import Tenant, Tier
from services.usage_ledger.alerts.alert_store import AlertStore
from services.usage_ledger.alerts.causes import read_causes
from services.usage_ledger.alerts.rule_store import AlertRuleStore
from services.usage_ledger.alerts.watch import AlertWatch
from tests.integration.usage_ledger.alerts.evaluation import StillView, no_audit, watch_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Killed(Exception):
    """The process ends here."""


@contextmanager
def killed_at(engine: AsyncEngine, number: int) -> Iterator[list[int]]:
    """Fail the statement of this number, and every later one, as a process that is not there any more."""
    count = [0]

    def on_statement(*_: object) -> None:
        count[0] += 1
        if count[0] >= number:
            raise Killed

    event.listen(engine.sync_engine, "before_cursor_execute", on_statement)
    try:
        yield count
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", on_statement)


async def evaluate(watch: AlertWatch, engine: AsyncEngine) -> None:
    """Evaluate what is marked, as one round does."""
    async with engine.connect() as connection:
        causes = await read_causes(connection, 1000)
    await watch.evaluate([cause for cause in causes if cause.tenant.startswith("kill-")], NOW)


async def published(engine: AsyncEngine, tenant: str) -> list[AlertChanged]:
    """Return the events of a tenant in the outbox, in the order in which they will be published."""
    async with engine.connect() as connection:
        query = text("SELECT payload FROM usage_ledger.event_outbox WHERE subject LIKE :subject ORDER BY id")
        rows = await connection.scalars(query, {"subject": f"%.{tenant}"})
        return [AlertChanged.decode(bytes(row)) for row in rows]


@pytest.mark.parametrize("raised", [True, False])
async def test_a_kill_at_any_statement_loses_and_doubles_nothing(engine: AsyncEngine, raised: bool) -> None:
    tenant = f"kill-{'fired' if raised else 'over'}"
    view = StillView({tenant: Tenant(tenant=tenant, name="x", tier=Tier.STARTER)})
    store = AlertStore(engine, no_audit)
    subjects = ("a", "b", "c")
    if not raised:
        for subject in subjects:
            await report(store, tenant, subject, True)
        await evaluate(watch_of(engine, view), engine)
    for subject in subjects:
        await report(store, tenant, subject, raised)
    number, kills = 1, 0
    while True:
        with killed_at(engine, number) as count:
            try:
                # A new process: it has nothing in memory.
                await evaluate(watch_of(engine, view), engine)
            except Killed:
                kills += 1
        if count[0] < number:
            break
        number += 1
    assert kills > 10, "each statement was the last one of some process"
    events = await published(engine, tenant)
    wanted = [AlertState.FIRED] * 3 if raised else [AlertState.FIRED] * 3 + [AlertState.RESOLVED] * 3
    assert [found.state for found in events] == wanted
    assert [found.sequence for found in events] == list(range(1, len(wanted) + 1))
    async with engine.connect() as connection:
        assert not [cause for cause in await read_causes(connection, 1000) if cause.tenant == tenant]


async def report(store: AlertStore, tenant: str, subject: str, raised: bool) -> None:
    command = ReportAlert(tenant=tenant, metric="channel_failing", subject=subject, raised=raised, text="it fails")
    assert await store.report(command, NOW)


async def test_rules_that_change_meanwhile_do_not_fire_by_their_former_terms(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = "kill-meanwhile"
    view = StillView({tenant: Tenant(tenant=tenant, name="x", tier=Tier.STARTER)})
    store, rules = AlertStore(engine, no_audit), AlertRuleStore(engine, no_audit)
    watch = watch_of(engine, view)
    await evaluate(watch, engine)
    await report(store, tenant, "a", True)
    off = {"tenant": tenant, "name": "off", "metric": "channel_failing", "enabled": False}
    command = SaveAlertRule.model_validate(off | {"rule_id": "alr_default_channel_failing"})
    original = watch._apply

    async def apply_late(*values: Any) -> datetime | None:
        await rules.save(command, NOW)
        monkeypatch.setattr(watch, "_apply", original)
        return await original(*values)

    monkeypatch.setattr(watch, "_apply", apply_late)
    await evaluate(watch, engine)
    await evaluate(watch, engine)
    assert await published(engine, tenant) == []
