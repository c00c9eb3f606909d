"""What attempts cost the accounts that they hold shares of."""

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.credit import Hold, Reservation
from keyferry.contracts.usage import LedgerRow, Outcome
from services.usage_ledger.credit.due import due_amount, holds_by_lease, transfer_id
from tests.support.ledger.attempt_records import attempt_record

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTHING_USED = {"token_usage": {"input": 0, "output": 0}, "usage_source": "none"}


def row(holds: list[Hold], charge: int | None = None, spend: int | None = None, **changes: object) -> LedgerRow:
    reservation = Reservation(holds=holds, not_after_unix_ms=1) if holds else None
    record = attempt_record(reservation=reservation.model_dump() if reservation else None, **changes)
    return LedgerRow(record=record, pricing="unpriced", charge_micro_usd=charge, spend_micro_usd=spend, recorded_at=NOW)


@pytest.mark.parametrize(
    ("account", "changes", "due"),
    [
        ("credits/acme", {}, 70),
        ("budget/bud_1/2026-03-01", {}, 80),
        ("allowance/acme/2026-03", {}, 1),
        ("allowance/acme/2026-03", {"outcome": Outcome.FAILED} | NOTHING_USED, 0),
        ("allowance/acme/2026-03", {"outcome": Outcome.CANCELLED}, 1),
        ("allowance/acme/2026-03", {"outcome": Outcome.CANCELLED, "token_usage": {"input": 1, "output": 0}}, 1),
        ("allowance/acme/2026-03", {"outcome": Outcome.INDETERMINATE} | NOTHING_USED, 0),
        ("nonsense/acme", {}, 0),
    ],
)
def test_what_an_account_pays(account: str, changes: dict[str, object], due: int) -> None:
    assert due_amount(row([], 70, 80, **changes), account) == due


def test_an_unknown_cost_is_not_the_tenants() -> None:
    assert due_amount(row([]), "credits/acme") == due_amount(row([]), "budget/bud_1/2026-03-01") == 0


def test_holds_are_found_by_lease() -> None:
    holds = [
        Hold(lease_id="l1", account="credits/acme", amount=100),
        Hold(lease_id="l2", account="budget/b/w", amount=90),
    ]
    rows = [row(holds, 70, 80), row([]), row(holds[:1], 5)]
    found = holds_by_lease(rows)
    assert [(one.attempt_id, one.tenant) for one in found["l1"]] == [
        (each.record.attempt_id, each.record.tenant) for each in (rows[0], rows[2])
    ]
    assert {lease: [(one.account, one.hold.amount, one.hold.due) for one in each] for lease, each in found.items()} == {
        "l1": [("credits/acme", 100, 70), ("credits/acme", 100, 5)],
        "l2": [("budget/b/w", 90, 80)],
    }


@given(st.integers(0, 1000), st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_a_cost_is_split_over_the_holds_of_its_account(charge: int, amounts: list[int]) -> None:
    holds = [Hold(lease_id=f"l{number}", account="credits/acme", amount=each) for number, each in enumerate(amounts)]
    parts = [one.hold for each in holds_by_lease([row(holds, charge)]).values() for one in each]
    assert sum(part.due for part in parts) == charge
    assert all(part.due <= part.amount for part in parts[:-1])


def test_the_id_of_a_transfer_follows_from_the_first_attempt_and_the_lease() -> None:
    assert transfer_id("settle", "l1", ["b", "a"]) == transfer_id("settle", "l1", ["a", "c"])
    digest = hashlib.sha256(b"l1\na").hexdigest()
    assert transfer_id("settle", "l1", ["a"]) == f"settle:{digest[:40]}"
    others = [
        transfer_id("settle", "l2", ["a"]),
        transfer_id("settle", "l1", ["b"]),
        transfer_id("unused", "l1", ["a"]),
    ]
    assert len({transfer_id("settle", "l1", ["a"]), *others}) == 4
    assert len(transfer_id("settle", "l" * 200, ["a" * 200])) <= 200
