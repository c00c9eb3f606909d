"""What happens after a month has ended: late records, re-ratings, refunds, another zone, and attempts that leave."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts import ids
from keyferry.contracts.accounts import GRANTED
from keyferry.contracts.analytics import Dimension
from keyferry.contracts.statements import ReconciliationKind, Statement, StatementEntryKind, StatementState
from keyferry.contracts.usage import KeySource
from services.usage_ledger.accounts.transfer import TransferPurpose
from services.usage_ledger.statements import account_reader, entry_kinds
from services.usage_ledger.statements.closing import MonthClosing
from services.usage_ledger.statements.month_store import StatementMonthStore
from services.usage_ledger.statements.reports import NoSuchMonth
from tests.integration.usage_ledger.statements.ledger import StatementLedger

OCTOBER = datetime(2026, 10, 5, 9, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 3, 9, tzinfo=UTC)
RECORDED, BEGUN = ReconciliationKind.RECORDED_IN_OTHER_MONTH, ReconciliationKind.BEGUN_IN_OTHER_MONTH


@pytest.fixture
async def ledger(engine: AsyncEngine) -> StatementLedger:
    """Provide a tenant in Berlin with 10 dollars, and two requests of October."""
    found = StatementLedger(engine, OCTOBER, "Europe/Berlin")
    await found.grant(10_000_000)
    await found.attempt(team="red")
    await found.attempt(team="blue", model="large")
    return found


def lines_of(found: Statement) -> dict[ReconciliationKind, int]:
    return {line.kind: line.amount_micro_usd for line in found.reconciliation.lines}


async def test_a_statement_says_the_same_as_long_as_the_ledger_does(ledger: StatementLedger) -> None:
    ledger.now = NOVEMBER
    first = await ledger.statement("2026-10")
    ledger.now += timedelta(days=20)
    await ledger.attempt()
    later = await ledger.statement("2026-10")
    assert later.fingerprint == first.fingerprint
    assert later.model_copy(update={"as_of": first.as_of}) == first
    assert lines_of(first) == {}


async def test_a_late_record_is_posted_later_and_explained_in_both_months(ledger: StatementLedger) -> None:
    ledger.now = NOVEMBER
    first = await ledger.statement("2026-10")
    late = await ledger.attempt(began=OCTOBER + timedelta(days=1))
    october, november = await ledger.statement("2026-10"), await ledger.statement("2026-11")
    charge = late.charge_micro_usd or 0
    assert charge
    assert october.account == first.account
    assert october.total.charge_micro_usd == first.total.charge_micro_usd + charge
    assert october.fingerprint != first.fingerprint
    assert lines_of(october) == {RECORDED: -charge}
    assert lines_of(november) == {BEGUN: charge}
    assert november.reconciliation.posted_micro_usd == charge


async def test_a_re_rating_is_a_line_of_the_month_in_which_it_was_made(ledger: StatementLedger) -> None:
    ledger.now = NOVEMBER
    first = await ledger.statement("2026-10")
    await ledger.rerate("small", "0.5", OCTOBER - timedelta(days=1))
    october, november = await ledger.statement("2026-10"), await ledger.statement("2026-11")
    difference = october.total.charge_micro_usd - first.total.charge_micro_usd
    assert difference < 0
    assert october.account == first.account
    assert lines_of(october) == {ReconciliationKind.RERATED: -difference}
    (correction,) = november.account.entries
    assert (correction.kind, correction.amount_micro_usd) == (StatementEntryKind.CORRECTION, -difference)
    assert lines_of(november) == {ReconciliationKind.CORRECTIONS: difference}


async def test_an_adjustment_after_the_month_leaves_it_as_it_is(ledger: StatementLedger) -> None:
    ledger.now = NOVEMBER
    first = await ledger.statement("2026-10")
    await ledger.buy(5_000_000)
    await ledger.take(1_000)
    assert (await ledger.statement("2026-10")).account == first.account
    november = await ledger.statement("2026-11")
    assert november.account.opening_micro_usd == first.account.closing_micro_usd
    assert {each.kind: each.amount_micro_usd for each in november.account.sums} == {
        StatementEntryKind.PURCHASE: 5_000_000,
        StatementEntryKind.ADJUSTMENT: -1_000,
    }
    assert [entry.source for entry in november.account.entries] == ["stripe", None]


async def test_a_month_keeps_the_zone_that_it_ended_with(ledger: StatementLedger) -> None:
    ledger.now = NOVEMBER
    first = await ledger.statement("2026-10")
    ledger.move_to("America/New_York")
    ledger.now += timedelta(days=40)
    assert (await ledger.statement("2026-10")).fingerprint == first.fingerprint
    november = await ledger.statement("2026-11")
    assert (november.since, november.until) == (first.until, datetime(2026, 12, 1, 5, tzinfo=UTC))


async def test_the_job_stores_a_month_before_its_zone_changes(ledger: StatementLedger, engine: AsyncEngine) -> None:
    ledger.now = NOVEMBER
    closing = MonthClosing(StatementMonthStore(engine), lambda: [ledger.tenant], lambda: ledger.now)
    await closing.close_ended()
    ledger.move_to("Pacific/Honolulu")
    await closing.close_ended()
    assert (await ledger.statement("2026-10")).tz == "Europe/Berlin"
    rows = await ledger.rows(
        "SELECT month FROM usage_ledger.statement_months WHERE tenant = :tenant", {"tenant": ledger.tenant.tenant}
    )
    assert len(rows) == 1


async def test_two_processes_that_end_a_month_at_once_store_one(ledger: StatementLedger, engine: AsyncEngine) -> None:
    ledger.now = NOVEMBER + timedelta(days=40)
    zones = ("Europe/Berlin", "Pacific/Honolulu") * 4
    store = StatementMonthStore(engine)
    found = await asyncio.gather(*(store.list_months(ledger.tenant.tenant, tz, ledger.now) for tz in zones))
    assert len({tuple(months[:-1]) for months in found}) == 1
    assert [month.name for month in found[0]] == ["2026-10", "2026-11", "2026-12"]


async def test_attempts_of_before_the_first_credits_have_a_month(ledger: StatementLedger) -> None:
    ledger.now = NOVEMBER
    await ledger.statement("2026-10")
    await ledger.attempt(began=datetime(2026, 8, 20, tzinfo=UTC))
    assert [each.month for each in (await ledger.statements()).statements] == [
        "2026-11", "2026-10", "2026-09", "2026-08",
    ]  # fmt: skip
    assert (await ledger.statement("2026-08")).total.attempts == 1


async def test_a_tenant_without_anything_has_no_statement(engine: AsyncEngine) -> None:
    empty = StatementLedger(engine, NOVEMBER)
    assert (await empty.statements()).statements == []
    with pytest.raises(NoSuchMonth, match="no statement yet"):
        await empty.statement("2026-11")


async def test_an_unknown_month_says_which_there_are(ledger: StatementLedger) -> None:
    for month in ("2026-09", "2026-11", "0000-01", "9999-12"):
        with pytest.raises(NoSuchMonth, match="from 2026-10 to 2026-10"):
            await ledger.statement(month)


async def test_states_follow_the_month_and_what_is_recorded(ledger: StatementLedger) -> None:
    assert (await ledger.statement("2026-10")).state is StatementState.OPEN
    ledger.now = NOVEMBER
    assert (await ledger.statement("2026-10")).state is StatementState.SETTLING
    ledger.complete_until = NOVEMBER
    assert (await ledger.statement("2026-10")).state is StatementState.CLOSED
    assert (await ledger.statement("2026-11")).state is StatementState.OPEN


async def test_a_charge_that_finds_no_credits_is_explained(ledger: StatementLedger) -> None:
    lost = await ledger.attempt(paid=False)
    found = await ledger.statement("2026-10")
    assert lines_of(found) == {ReconciliationKind.UNCOLLECTED: -(lost.charge_micro_usd or 0)}


async def test_what_leaves_with_its_attempts_is_named_and_sums_stay(ledger: StatementLedger) -> None:
    await ledger.attempt(began=OCTOBER - timedelta(days=20), tags={"project": "a"})
    first, by_tag = await ledger.statement("2026-10"), await ledger.statement("2026-09", "project")
    assert BEGUN in lines_of(first)
    assert by_tag.rest is None
    removal = "DELETE FROM usage_ledger.attempts WHERE tenant = :tenant RETURNING attempt_id"
    assert len(await ledger.rows(removal, {"tenant": ledger.tenant.tenant})) == 3
    later = await ledger.statement("2026-10")
    assert later.model_copy(update={"reconciliation": first.reconciliation, "fingerprint": first.fingerprint}) == first
    assert set(lines_of(later)) == {ReconciliationKind.REMOVED}
    gone = await ledger.statement("2026-09", "project")
    assert (gone.lines, gone.rest) == ([], by_tag.total)


async def test_more_lines_than_a_statement_lists_are_one_more(
    ledger: StatementLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.usage_ledger.statements.usage_reader.MAX_STATEMENT_LINES", 1)
    monkeypatch.setattr("services.usage_ledger.statements.usage_reader.MAX_STATEMENT_ROWS", 1)
    monkeypatch.setattr(account_reader, "MAX_STATEMENT_ENTRIES", 1)
    await ledger.buy(7)
    await ledger.attempt(tags={"project": "a"})
    await ledger.attempt(tags={"project": "b"})
    found = await ledger.statement("2026-10")
    assert (len(found.lines), found.lines_left_out, len(found.account.entries)) == (1, 2, 1)
    assert found.account.entries_left_out == 1
    assert found.rest is not None
    assert found.rest.charge_micro_usd + found.lines[0].figures.charge_micro_usd == found.total.charge_micro_usd
    (project,) = (each for each in found.breakdowns if each.by is Dimension.TAG)
    charges = [row.figures.charge_micro_usd for row in project.rows]
    assert [row.keys[0].kind.value for row in project.rows] == ["value", "none"]
    assert project.rest is not None
    assert sum(charges) + project.rest.charge_micro_usd == found.total.charge_micro_usd


async def test_own_keys_are_apart_and_are_not_charged_to_credits(ledger: StatementLedger) -> None:
    await ledger.attempt(key_source=KeySource.BYOK, reservation=None)
    found = await ledger.statement("2026-10")
    assert (found.own_keys.attempts, found.platform_keys.attempts, found.total.attempts) == (1, 2, 3)
    assert found.own_keys.cost_usd
    assert found.own_keys.cost_usd + (found.platform_keys.cost_usd or 0) == found.total.cost_usd


async def test_a_transfer_of_a_purpose_that_is_not_known_is_in_the_balance(
    ledger: StatementLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {name: kind for name, kind in entry_kinds.ENTRY_KINDS.items() if name != "grant"}
    monkeypatch.setattr(entry_kinds, "ENTRY_KINDS", kinds)
    await ledger.post(GRANTED, ledger.account, 9, TransferPurpose.GRANT, source="later", source_id=ids.new("x"))
    found = await ledger.statement("2026-10")
    assert {each.kind for each in found.account.sums} == {StatementEntryKind.OTHER, StatementEntryKind.CHARGE}
    assert found.account.closing_micro_usd == await ledger.balance()
