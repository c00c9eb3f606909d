"""The wallet: all accounts or none, never more than a lease, only while it lasts, and everything unused comes back."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.budget import MAX_BUDGETS
from keyferry.contracts.credit import (
    LEASE_MS,
    CreditCertificate,
    CreditLease,
    LeaseCredit,
    LeaseResult,
    Reservation,
    ReturnCredit,
)
from services.router.credit.demand import RecentDemand
from services.router.credit.wallet import FEWEST_SHARES, IDLE_MS, MARGIN_MS, MOST_WANTED, CreditWallet

CREDITS = "credits/acme"
BUDGET = "budget/bud_1/2026-11-01"
NOW = 1_800_000_000_000
END = NOW + LEASE_MS


def lease(lease_id: str, amount: int, account: str = CREDITS, end: int = END) -> CreditLease:
    return CreditLease(
        result=LeaseResult.GRANTED, account=account, lease_id=lease_id, amount=amount, not_after_unix_ms=end
    )


def wallet_with(*leases: CreditLease) -> CreditWallet:
    wallet = CreditWallet("r1-a")
    for one in leases:
        wallet.install("acme", one, NOW)
    return wallet


def reserved(result: Reservation | list[LeaseCredit]) -> Reservation:
    assert isinstance(result, Reservation), result
    return result


def asked(result: Reservation | list[LeaseCredit]) -> list[LeaseCredit]:
    assert isinstance(result, list)
    return result


def test_without_a_lease_it_says_what_to_ask_for() -> None:
    [ask] = asked(CreditWallet("r1-a").reserve("acme", {CREDITS: 300}, NOW))
    assert (ask.tenant, ask.account, ask.need, ask.epoch) == ("acme", CREDITS, 300, "r1-a")
    assert ask.want == FEWEST_SHARES * 300


def test_a_share_is_set_aside_of_a_lease() -> None:
    wallet = wallet_with(lease("l1", 1000))
    reservation = reserved(wallet.reserve("acme", {CREDITS: 300}, NOW))
    [hold] = reservation.holds
    assert (hold.lease_id, hold.account, hold.amount) == ("l1", CREDITS, 300)
    assert reservation.not_after_unix_ms == END
    assert wallet.available(CREDITS, NOW) == 700


def test_exactly_the_whole_lease_may_be_set_aside_and_no_more() -> None:
    wallet = wallet_with(lease("l1", 600))
    reserved(wallet.reserve("acme", {CREDITS: 300}, NOW))
    reserved(wallet.reserve("acme", {CREDITS: 300}, NOW))
    assert asked(wallet.reserve("acme", {CREDITS: 1}, NOW))


def test_all_accounts_or_none() -> None:
    wallet = wallet_with(lease("l1", 1000))
    [ask] = asked(wallet.reserve("acme", {CREDITS: 300, BUDGET: 40}, NOW))
    assert ask.account == BUDGET
    assert wallet.available(CREDITS, NOW) == 1000
    wallet.install("acme", lease("l2", 40, BUDGET, END - 7), NOW)
    reservation = reserved(wallet.reserve("acme", {CREDITS: 300, BUDGET: 40}, NOW, again=True))
    assert {hold.account: hold.amount for hold in reservation.holds} == {CREDITS: 300, BUDGET: 40}
    assert reservation.not_after_unix_ms == END - 7


def test_the_certificate_of_the_lease_that_pays_goes_with_the_reservation() -> None:
    certificate = CreditCertificate(account=CREDITS, lease_id="l1", not_after_unix_ms=END, signature="sig")
    paying = lease("l1", 1000).model_copy(update={"certificate": certificate})
    wallet = wallet_with(paying, lease("l2", 40, BUDGET))
    for needs in ({CREDITS: 300, BUDGET: 10}, {BUDGET: 10, CREDITS: 300}, {CREDITS: 1}):
        assert reserved(wallet.reserve("acme", needs, NOW)).certificate == certificate
    assert reserved(wallet.reserve("acme", {BUDGET: 10}, NOW)).certificate is None


def test_no_needs_are_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no account"):
        CreditWallet("r1-a").reserve("acme", {}, NOW)


@pytest.mark.parametrize(("left_ms", "usable"), [(MARGIN_MS + 1, True), (MARGIN_MS, False), (0, False)])
def test_nothing_is_set_aside_shortly_before_a_lease_ends(left_ms: int, usable: bool) -> None:
    wallet = wallet_with(lease("l1", 1000))
    result = wallet.reserve("acme", {CREDITS: 1}, END - left_ms)
    assert isinstance(result, Reservation) is usable


def test_the_lease_that_ends_first_is_used_first() -> None:
    wallet = wallet_with(lease("late", 100, end=END), lease("soon", 100, end=END - 1000))
    assert reserved(wallet.reserve("acme", {CREDITS: 60}, NOW)).holds[0].lease_id == "soon"
    assert reserved(wallet.reserve("acme", {CREDITS: 60}, NOW)).holds[0].lease_id == "late"


def test_what_was_never_sent_is_put_back() -> None:
    wallet = wallet_with(lease("l1", 300))
    reservation = reserved(wallet.reserve("acme", {CREDITS: 300}, NOW))
    wallet.put_back(reservation)
    assert wallet.available(CREDITS, NOW) == 300


def test_a_lease_that_comes_twice_counts_once() -> None:
    wallet = wallet_with(lease("l1", 300), lease("l1", 300))
    assert wallet.available(CREDITS, NOW) == 300


def test_idle_accounts_give_their_rest_back() -> None:
    wallet = wallet_with(lease("l1", 1000))
    reserved(wallet.reserve("acme", {CREDITS: 300}, NOW))
    assert wallet.take_returns(NOW + IDLE_MS - 1) == []
    assert wallet.take_returns(NOW + IDLE_MS) == [ReturnCredit(tenant="acme", lease_id="l1", amount=700, epoch="r1-a")]
    assert wallet.take_returns(NOW + IDLE_MS) == []
    assert asked(wallet.reserve("acme", {CREDITS: 1}, NOW + IDLE_MS))


def test_a_lease_in_use_gives_its_rest_back_when_it_ends_soon() -> None:
    wallet = wallet_with(lease("l1", 1000))
    reserved(wallet.reserve("acme", {CREDITS: 300}, END - MARGIN_MS - 1))
    assert wallet.take_returns(END - MARGIN_MS - 1) == []
    assert [one.amount for one in wallet.take_returns(END - MARGIN_MS)] == [700]


def test_what_is_put_back_later_is_given_back_with_the_total() -> None:
    wallet = wallet_with(lease("l1", 1000))
    reservation = reserved(wallet.reserve("acme", {CREDITS: 300}, NOW))
    assert [one.amount for one in wallet.take_returns(NOW + IDLE_MS)] == [700]
    wallet.put_back(reservation)
    assert [one.amount for one in wallet.take_returns(NOW + IDLE_MS)] == [1000]


def test_what_is_put_back_after_the_end_is_left_to_the_ledger() -> None:
    wallet = wallet_with(lease("l1", 1000))
    reservation = reserved(wallet.reserve("acme", {CREDITS: 300}, NOW))
    wallet.take_returns(END + 1)
    wallet.put_back(reservation)
    assert wallet.take_returns(END + 1) == []
    assert len(wallet) == 0


def test_a_stopping_router_gives_everything_back_that_is_not_set_aside() -> None:
    wallet = wallet_with(lease("l1", 1000), lease("l2", 50, BUDGET))
    reserved(wallet.reserve("acme", {CREDITS: 300}, NOW))
    assert {one.lease_id: one.amount for one in wallet.take_all()} == {"l1": 700, "l2": 50}


def test_rests_too_small_are_given_back_when_the_account_has_too_little() -> None:
    wallet = wallet_with(lease("l1", 250), lease("l2", 400))
    asked(wallet.reserve("acme", {CREDITS: 500}, NOW))
    asked(wallet.reserve("acme", {CREDITS: 300, BUDGET: 1}, NOW))
    wallet.install("acme", CreditLease(result=LeaseResult.INSUFFICIENT, account=CREDITS), NOW)
    assert [(one.lease_id, one.amount) for one in wallet.take_returns(NOW)] == [("l1", 250)]
    assert wallet.available(CREDITS, NOW) == 400


def test_two_seconds_of_demand_are_wanted() -> None:
    wallet = wallet_with(lease("l1", 10**12))
    for step in range(400):
        reserved(wallet.reserve("acme", {CREDITS: 100}, NOW + step * 10))
    [ask] = asked(wallet.reserve("acme", {CREDITS: 10**13}, NOW + 4000))
    assert ask.want == ask.need
    [ask] = asked(wallet.reserve("other", {BUDGET: 100}, NOW + 4000))
    assert ask.want == 100 * FEWEST_SHARES


def test_a_try_again_is_no_further_demand() -> None:
    once, twice = CreditWallet("r1-a"), CreditWallet("r1-a")
    for wallet in (once, twice):
        for _ in range(50):
            wallet.reserve("acme", {CREDITS: 100}, NOW)
    for _ in range(50):
        twice.reserve("acme", {CREDITS: 100}, NOW, again=True)
    assert once.reserve("acme", {CREDITS: 1}, NOW) == twice.reserve("acme", {CREDITS: 1}, NOW)


def test_at_most_so_much_is_wanted_unless_one_attempt_needs_more() -> None:
    wallet = CreditWallet("r1-a")
    [ask] = asked(wallet.reserve("acme", {CREDITS: MOST_WANTED // 2}, NOW))
    assert ask.want == MOST_WANTED
    [ask] = asked(wallet.reserve("acme", {CREDITS: MOST_WANTED * 3}, NOW))
    assert ask.want == ask.need == MOST_WANTED * 3


def test_an_account_in_use_is_topped_up_before_it_is_empty() -> None:
    wallet = wallet_with(lease("l1", 3000))
    assert wallet.top_up(CREDITS, NOW) is None
    for step in range(20):
        reserved(wallet.reserve("acme", {CREDITS: 100}, NOW + step))
    assert wallet.top_up(CREDITS, NOW + 20) is None
    for step in range(7):
        reserved(wallet.reserve("acme", {CREDITS: 100}, NOW + 20 + step))
    ask = wallet.top_up(CREDITS, NOW + 30)
    assert ask is not None
    assert (ask.need, ask.want) == (100, 2700)


def test_memory_is_bounded_by_what_is_in_use() -> None:
    wallet = CreditWallet("r1-a")
    for number in range(20_000):
        now = NOW + number * 10
        account = f"credits/t{number}"
        wallet.install("acme", lease(f"l{number}", 100, account, now + LEASE_MS), now)
        reserved(wallet.reserve("acme", {account: 100}, now))
        if number % 100 == 0:
            wallet.take_returns(now)
    assert len(wallet) <= 6200
    assert len(wallet._accounts) <= 700  # no public count of accounts: nobody needs one


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_what_is_set_aside_and_given_back_never_exceeds_a_lease(seed: int, steps: int) -> None:
    chance = random.Random(seed)
    wallet = CreditWallet("r1-a")
    granted: Counter[str] = Counter()
    held: Counter[str] = Counter()
    returned: dict[str, int] = {}
    open_reservations: list[Reservation] = []
    now = NOW
    for step in range(steps):
        now += chance.choice([0, 10, 500, 4000, -50])
        match chance.randrange(4):
            case 0:
                account = chance.choice([CREDITS, BUDGET])
                granted[f"l{step}"] = amount = chance.randrange(1, 500)
                wallet.install("acme", lease(f"l{step}", amount, account, now + LEASE_MS), now)
            case 1:
                needs = {name: chance.randrange(1, 200) for name in (CREDITS, BUDGET) if chance.random() < 0.7}
                if needs and isinstance(found := wallet.reserve("acme", needs, now), Reservation):
                    assert now < found.not_after_unix_ms - MARGIN_MS
                    assert {hold.account: hold.amount for hold in found.holds} == needs
                    open_reservations.append(found)
                    held.update({hold.lease_id: hold.amount for hold in found.holds})
            case 2 if open_reservations:
                back = open_reservations.pop(chance.randrange(len(open_reservations)))
                wallet.put_back(back)
                held.subtract({hold.lease_id: hold.amount for hold in back.holds})
            case _:
                for one in wallet.take_returns(now):
                    assert one.amount > returned.get(one.lease_id, 0)
                    returned[one.lease_id] = one.amount
        assert all(held[one] + returned.get(one, 0) <= amount for one, amount in granted.items())
    for one in wallet.take_all():
        returned[one.lease_id] = one.amount
    assert all(held[one] + returned.get(one, 0) <= amount for one, amount in granted.items())


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 100)), max_size=40))
def test_recent_demand_is_between_two_and_three_seconds_of_it(steps: list[tuple[int, int]]) -> None:
    demand = RecentDemand()
    now, history = NOW, []
    for after_ms, amount in steps:
        now += after_ms
        demand.add(amount, now)
        history.append((now, amount))
    found = demand.of_two_seconds(now)
    last_two = sum(amount for at, amount in history if at > now - 2000)
    last_three = sum(amount for at, amount in history if at > now - 3000)
    assert found <= last_three
    assert found >= sum(amount for at, amount in history if at // 1000 >= now // 1000 - 1)
    assert found <= last_two + sum(amount for at, amount in history if at // 1000 == now // 1000 - 2)


def test_a_clock_that_is_set_back_loses_no_demand() -> None:
    demand = RecentDemand()
    demand.add(5, NOW)
    demand.add(7, NOW - 5000)
    assert demand.of_two_seconds(NOW) == 12


def test_an_attempt_may_count_against_every_budget_of_a_tenant_and_its_credits() -> None:
    accounts = {f"budget/bud_{number}/2026-11": 5 for number in range(MAX_BUDGETS)} | {CREDITS: 5}
    wallet = wallet_with(*(lease(f"lease_{name}", 5, name) for name in accounts))
    assert len(reserved(wallet.reserve("acme", accounts, 0)).holds) == MAX_BUDGETS + 1


def test_a_lease_that_was_empty_can_be_used_again() -> None:
    wallet = wallet_with(lease("lease_1", 5))
    for _ in range(3):
        wallet.put_back(reserved(wallet.reserve("acme", {CREDITS: 5}, 0)))
    assert wallet.available(CREDITS, 0) == 5
    assert [given.amount for given in wallet.take_all()] == [5]


def test_what_is_put_back_is_at_most_what_was_set_aside() -> None:
    wallet = wallet_with(lease("l1", 300))
    reservation = reserved(wallet.reserve("acme", {CREDITS: 100}, NOW))
    for _ in range(2):
        wallet.put_back(reservation)
    assert wallet.available(CREDITS, NOW) == 300
    wallet.take_all()
    wallet.put_back(reservation)
    assert wallet.take_returns(NOW) == []


def test_what_an_account_has_left_is_what_the_ledger_said_and_what_is_not_set_aside() -> None:
    wallet = CreditWallet("r1-a")
    assert wallet.left(CREDITS, NOW) is None
    wallet.install("acme", lease("l1", 3).model_copy(update={"available": 40}), NOW)
    assert wallet.left(CREDITS, NOW) == 43
    reserved(wallet.reserve("acme", {CREDITS: 1}, NOW))
    assert wallet.left(CREDITS, NOW) == 42
    wallet.install("acme", lease("l2", 1).model_copy(update={"available": 30}), NOW)
    assert wallet.left(CREDITS, NOW) == 33
