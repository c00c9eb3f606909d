"""What `keyferry credits` prints."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner

from keyferry.cli import credits as commands
from keyferry.cli.credits import format_balance, format_change, format_history
from keyferry.cli.problem import Problem
from keyferry.contracts.credit_management import (
    CreditBalance,
    CreditEntry,
    CreditEntryKind,
    CreditHistory,
    CreditsChanged,
    CreditState,
)
from keyferry.runtime.bus.requests import BusError

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
BALANCE = CreditBalance(
    tenant="acme",
    balance=Decimal("12.5"),
    available=Decimal(10),
    held=Decimal("2.500"),
    balance_usd=Decimal("0.0125"),
    state=CreditState.LOW,
    low_below=Decimal(1000),
    spent_7_days=Decimal(700),
    days_left=1,
    as_of=AT,
)


def test_a_balance() -> None:
    first, *rest = format_balance(BALANCE)
    assert first == "acme has 12.5 credits ($0.0125)"
    assert [line.split(None, 1) for line in rest] == [
        ["available", "10"],
        ["held", "2.5"],
        ["state", "low (low at 1000 or below)"],
        ["spent", "700 in the last 7 days"],
        ["lasts", "about 1 day"],
    ]
    assert format_balance(BALANCE.model_copy(update={"days_left": None}))[-1].split() == ["lasts", "unknown"]


class SilentLedger:
    """A ledger that is asked and does not answer."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def ask(self, subject: object, query: Any) -> object:
        self.keys.append(query.idempotency_key)
        raise BusError("no answer within 5 s")


@pytest.mark.parametrize("change", ["grant", "adjust"])
def test_a_change_without_an_answer_names_the_key_that_makes_it_once(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = SilentLedger()

    def run(work: Callable[[SilentLedger], Awaitable[object]], *, tenant: str) -> object:
        return asyncio.run(_await(work(ledger)))

    monkeypatch.setattr(commands, "run", run)
    failed = CliRunner().invoke(commands.command, [change, "acme", "5", "--reason", "why"])
    assert isinstance(failed.exception, Problem)
    assert f"--idempotency-key {ledger.keys[0]}" in (failed.exception.remedy)


async def _await(found: Awaitable[object]) -> object:
    return await found


def test_a_change_says_whether_it_was_made_before() -> None:
    done = CreditsChanged(entry_id="credit:acme:k", repeated=False, credits=BALANCE)
    assert format_change(done, "granted 5") == "granted 5: acme has 12.5 credits (entry credit:acme:k)"
    again = format_change(done.model_copy(update={"repeated": True}), "granted 5")
    assert again == "granted 5 before, so nothing has changed: acme has 12.5 credits (entry credit:acme:k)"


def test_a_history() -> None:
    usage = CreditEntry(
        entry_id="usage:2026-11-29", kind=CreditEntryKind.USAGE, credits=Decimal(-5), balance=Decimal(45), at=AT
    )
    grant = CreditEntry(
        entry_id="g",
        kind=CreditEntryKind.GRANT,
        credits=Decimal(50),
        balance=Decimal(50),
        at=AT,
        actor="ann",
        reason="hi",
    )
    table, more = format_history(CreditHistory(tenant="acme", entries=[usage, grant], next="1:g"))
    assert [line.split()[2:] for line in table.splitlines()[1:]] == [
        ["usage", "-5", "45", "-", "-"],
        ["grant", "+50", "50", "ann", "hi"],
    ]
    assert more == "`--after 1:g` shows those before"
    assert format_history(CreditHistory(tenant="acme", entries=[])) == ["nothing has happened yet"]
