"""The rules of double entry, without a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts.accounts import ABSORBED, ALLOWANCES, GRANTED, REVENUE, Unit
from keyferry.contracts.text import BIGINT_MAX
from services.usage_ledger.accounts.posting import Balance, PendingTransfer, open_account, post
from services.usage_ledger.accounts.transfer import (
    MAX_AMOUNT,
    InsufficientFunds,
    PendingConflict,
    Transfer,
    TransferPhase,
    TransferPurpose,
    TransferRefused,
    may_pay,
    resolve,
)

NOW = datetime(2026, 11, 29, tzinfo=UTC)
ACME, LEASE = "credits/acme", "lease/1"


def pay(debit: str, credit: str, amount: int, **fields: object) -> Transfer:
    values = {"transfer_id": "t", "purpose": TransferPurpose.GRANT, **fields}
    return Transfer(debit=debit, credit=credit, amount=amount, **values)  # type: ignore[arg-type]  # passed on


def balances(**posted: int) -> dict[str, Balance]:
    found = {
        name: Balance(account=name, unit=Unit.MICRO_USD) for name in (GRANTED, REVENUE, ABSORBED, ACME, "credits/other")
    }
    found[LEASE] = Balance(account=LEASE, unit=Unit.MICRO_USD, parent=ACME, credits_posted=posted.get("lease", 0))
    found[ACME] = replace(found[ACME], credits_posted=posted.get("acme", 0))
    return found


def test_a_transfer_moves_its_amount_and_the_sum_stays_zero() -> None:
    before = balances(acme=0)
    after = post(before, {}, [pay(GRANTED, ACME, 70), pay(ACME, LEASE, 50), pay(LEASE, REVENUE, 20)], NOW)
    assert {name: balance.posted for name, balance in after.items() if balance.posted} == {
        GRANTED: -70,
        ACME: 20,
        LEASE: 30,
        REVENUE: 20,
    }
    assert before == balances(acme=0)


@pytest.mark.parametrize(("amount", "passes"), [(99, True), (100, True), (101, False)])
def test_no_more_leaves_an_account_than_is_available(amount: int, passes: bool) -> None:
    transfers = [pay(ACME, REVENUE, 1, transfer_id="p", phase=TransferPhase.PENDING), pay(ACME, LEASE, amount)]
    before = balances(acme=101)
    if passes:
        assert post(before, {}, transfers, NOW)[ACME].available == 100 - amount
        return
    with pytest.raises(InsufficientFunds) as refused:
        post(before, {}, transfers, NOW)
    assert (refused.value.account, refused.value.available) == (ACME, 100)


def test_the_order_counts_within_a_batch() -> None:
    grant, spend = pay(GRANTED, ACME, 5), pay(ACME, REVENUE, 5)
    assert post(balances(), {}, [grant, spend], NOW)[ACME].available == 0
    with pytest.raises(InsufficientFunds):
        post(balances(), {}, [spend, grant], NOW)


def test_only_the_platform_may_be_overdrawn() -> None:
    assert post(balances(), {}, [pay(ABSORBED, REVENUE, 5)], NOW)[ABSORBED].available == -5
    with pytest.raises(InsufficientFunds):
        post(balances(), {}, [pay(LEASE, REVENUE, 1)], NOW)
    with pytest.raises(InsufficientFunds, match="lease/unknown has 0 available, which is less than 1") as refused:
        post({REVENUE: balances()[REVENUE]}, {}, [pay("lease/unknown", REVENUE, 1)], NOW)
    assert (refused.value.account, refused.value.available) == ("lease/unknown", 0)


@pytest.mark.parametrize(
    ("debit", "credit", "allowed"),
    [
        (GRANTED, ACME, True),
        (ACME, REVENUE, True),
        (ACME, LEASE, True),
        (LEASE, ACME, True),
        (LEASE, REVENUE, True),
        (ABSORBED, REVENUE, True),
        (GRANTED, GRANTED, False),
        (GRANTED, LEASE, False),
        (ACME, "credits/other", False),
        (ACME, "budget/b/2026", False),
        (ACME, ACME, False),
        (LEASE, "lease/2", False),
    ],
)
def test_who_may_pay_whom(debit: str, credit: str, allowed: bool) -> None:
    assert may_pay(debit, credit) is allowed


@pytest.mark.parametrize(
    ("transfer", "reason"),
    [
        (pay(GRANTED, ACME, 0), f"its amount has to be 1 to {MAX_AMOUNT}"),
        (pay(GRANTED, ACME, MAX_AMOUNT + 1), f"its amount has to be 1 to {MAX_AMOUNT}"),
        (pay(ACME, "credits/other", 1), f"{ACME} may not pay credits/other"),
        (pay("credits/other", LEASE, 1), f"{LEASE} is a lease of {ACME}"),
        (pay(LEASE, "credits/other", 1), f"{LEASE} is a lease of {ACME}"),
        (pay(ACME, ALLOWANCES, 1), "its two accounts are not kept in the same unit"),
        (pay("savings/acme", REVENUE, 1), "one of its accounts is of no known kind"),
        (pay(GRANTED, ACME, 1, phase=TransferPhase.POST), "exactly those that resolve a pending transfer name it"),
        (pay(GRANTED, ACME, 1, pending_id="p"), "exactly those that resolve a pending transfer name it"),
        (pay(GRANTED, ACME, 1, expires_at=NOW), "only a pending transfer expires"),
        (pay(GRANTED, ACME, 1, source="stripe"), "a source and its id go together"),
        (pay(GRANTED, ACME, 1, source_id="evt_1"), "a source and its id go together"),
    ],
    ids=lambda value: (
        f"{value.debit} {value.credit} {value.amount} {value.phase}" if isinstance(value, Transfer) else ""
    ),
)
def test_a_transfer_without_a_proper_form_is_refused(transfer: Transfer, reason: str) -> None:
    found = {**balances(acme=9, lease=9), ALLOWANCES: Balance(account=ALLOWANCES, unit=Unit.REQUESTS)}
    with pytest.raises(TransferRefused) as refused:
        post(found, {}, [transfer], NOW)
    assert not isinstance(refused.value, InsufficientFunds | PendingConflict)
    assert (refused.value.reason, str(refused.value)) == (reason, f"transfer t: {reason}")


def test_the_largest_transfer_passes_until_the_sums_are_full() -> None:
    assert post(balances(), {}, [pay(GRANTED, ACME, MAX_AMOUNT)], NOW)[ACME].available == MAX_AMOUNT
    full = {**balances(), ACME: Balance(account=ACME, unit=Unit.MICRO_USD, credits_posted=BIGINT_MAX - MAX_AMOUNT)}
    with pytest.raises(TransferRefused, match="too large"):
        post(full, {}, [pay(GRANTED, ACME, 1)], NOW)
    almost = {**full, ACME: replace(full[ACME], credits_posted=BIGINT_MAX - MAX_AMOUNT - 1)}
    assert post(almost, {}, [pay(GRANTED, ACME, 1)], NOW)[ACME].posted == BIGINT_MAX - MAX_AMOUNT
    paid_out = {**balances(), GRANTED: replace(balances()[GRANTED], debits_posted=BIGINT_MAX - MAX_AMOUNT)}
    with pytest.raises(TransferRefused, match=f"the sums of {GRANTED} would become too large"):
        post(paid_out, {}, [pay(GRANTED, ACME, 1)], NOW)


def test_a_lease_belongs_to_the_account_that_opened_it() -> None:
    assert open_account(LEASE, pay(ACME, LEASE, 5)) == Balance(account=LEASE, unit=Unit.MICRO_USD, parent=ACME)
    assert open_account(ACME, pay(ACME, LEASE, 5)).parent is None
    assert open_account("lease/2", pay("allowance/acme/2026-11", "lease/2", 1)).unit is Unit.REQUESTS
    with pytest.raises(TransferRefused, match="not kept in the same unit"):
        post({**balances(), LEASE: replace(balances()[LEASE], unit=Unit.REQUESTS)}, {}, [pay(ACME, LEASE, 1)], NOW)


def test_resolving_releases_what_was_set_aside() -> None:
    pending = pay(ACME, REVENUE, 30, transfer_id="p", phase=TransferPhase.PENDING)
    aside = post(balances(acme=70), {}, [pending, replace(pending, transfer_id="p2", amount=40)], NOW)
    assert (aside[ACME].debits_pending, aside[REVENUE].credits_pending, aside[ACME].available) == (70, 70, 0)
    assert resolve(pending, TransferPhase.VOID, "p1").purpose is pending.purpose
    posted = post(balances(acme=30), {}, [pending, resolve(pending, TransferPhase.POST, "p1", 10)], NOW)
    assert (posted[ACME].posted, posted[ACME].available, posted[REVENUE].posted) == (20, 20, 10)
    voided = post(balances(acme=30), {}, [pending, resolve(pending, TransferPhase.VOID, "p1")], NOW)
    assert (voided[ACME].available, voided[ACME].debits_pending, voided[REVENUE].credits_pending) == (30, 0, 0)


@pytest.mark.parametrize("phase", [TransferPhase.POST, TransferPhase.VOID, TransferPhase.EXPIRE])
@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_a_pending_transfer_is_expired_from_its_time_on_and_resolved_before(phase: TransferPhase, seconds: int) -> None:
    pending = pay(ACME, REVENUE, 3, transfer_id="p", phase=TransferPhase.PENDING, expires_at=NOW)
    before = post(balances(acme=3), {}, [pending], NOW)
    known = {"p": PendingTransfer(pending)}
    now, resolution = NOW + timedelta(seconds=seconds), resolve(pending, phase, "r")
    if (seconds >= 0) == (phase is TransferPhase.EXPIRE):
        assert post(before, known, [resolution], now)[ACME].debits_pending == 0
        return
    with pytest.raises(PendingConflict, match="p has expired" if seconds >= 0 else "p has not expired"):
        post(before, known, [resolution], now)


def test_what_cannot_be_resolved_is_refused() -> None:
    pending = pay(ACME, REVENUE, 3, transfer_id="p", phase=TransferPhase.PENDING)
    before = post(balances(acme=9), {}, [pending], NOW)
    void = resolve(pending, TransferPhase.VOID, "r")
    for known, transfer, reason in (
        ({}, void, "there is no pending transfer p"),
        ({"p": PendingTransfer(pending, "other")}, void, "p was resolved by other"),
        ({"p": PendingTransfer(replace(pending, phase=TransferPhase.POSTED))}, void, "there is no pending transfer p"),
        ({"p": PendingTransfer(pending)}, replace(void, credit=ABSORBED), "p is between other accounts"),
        ({"p": PendingTransfer(pending)}, replace(void, amount=2), "3 is pending in p"),
        ({"p": PendingTransfer(pending)}, resolve(pending, TransferPhase.POST, "r", 4), "3 is pending in p"),
        ({"p": PendingTransfer(pending)}, replace(void, phase=TransferPhase.EXPIRE), "p has not expired"),
    ):
        with pytest.raises(PendingConflict, match=reason):
            post(before, known, [transfer], NOW)
    with pytest.raises(PendingConflict, match="resolved by r"):
        post(before, {"p": PendingTransfer(pending)}, [void, replace(void, transfer_id="r2")], NOW)
