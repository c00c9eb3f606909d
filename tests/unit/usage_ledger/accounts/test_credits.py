"""How long credits last, and when they are low."""

from datetime import UTC, date, datetime, timedelta

import pytest

from keyferry.contracts.credit_management import CreditState
from services.usage_ledger.accounts.credits import MAX_DAYS_LEFT, choose_state, estimate_days_left

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TODAY = NOW.date()


def days_before(count: int) -> date:
    return TODAY - timedelta(days=count)


@pytest.mark.parametrize(
    ("balance", "spent", "days"),
    [
        (1000, {}, None),
        (1000, {TODAY: 5}, None),
        (1000, {days_before(8): 5}, None),
        (1000, {days_before(1): 0, TODAY: 5}, None),
        # 300 in a day and a half are 200 a day.
        (1000, {days_before(1): 200, TODAY: 100}, 5),
        (999, {days_before(1): 200, TODAY: 100}, 4),
        # A pause counts: 150 in seven days and a half are 20 a day.
        (100, {days_before(7): 150}, 5),
        (0, {days_before(7): 150}, 0),
        (-5, {days_before(7): 150}, 0),
        (0, {days_before(7): 1}, 0),
        # Exact where numbers with a point are not: 2 * 10^17 a day.
        (10**18 - 1, {days_before(7): 15 * 10**17}, 4),
        (10**15, {days_before(7): 1}, MAX_DAYS_LEFT),
        (10**15, {days_before(7): 10**15, TODAY: 5 * 10**14}, 5),
    ],
)
def test_days_left(balance: int, spent: dict[date, int], days: int | None) -> None:
    assert estimate_days_left(balance, spent, NOW) == days


def test_a_whole_day_of_spending_is_enough() -> None:
    midnight = datetime(2026, 11, 29, tzinfo=UTC)
    assert estimate_days_left(1000, {days_before(1): 200}, midnight) == 5
    assert estimate_days_left(1000, {days_before(1): 200}, midnight - timedelta(seconds=1)) is None


@pytest.mark.usefixtures("far_east")
def test_days_are_not_those_of_this_machines_zone() -> None:
    assert estimate_days_left(100, {days_before(7): 150}, NOW) == 5, "seven days ago, though there it is eight"


def test_days_are_those_of_utc() -> None:
    late = datetime.fromisoformat("2026-11-30T01:00:00+02:00")
    assert estimate_days_left(100, {date(2026, 11, 28): 47}, late) == 4, "47 hours, so 24 a day"


@pytest.mark.parametrize(
    ("balance", "available", "state"),
    [
        (101, 101, CreditState.OK),
        (101, 1, CreditState.OK),
        (100, 100, CreditState.LOW),
        (100, 0, CreditState.EMPTY),
        (0, 0, CreditState.EMPTY),
    ],
)
def test_state(balance: int, available: int, state: CreditState) -> None:
    assert choose_state(balance, available, 100, has_account=True) is state
    assert choose_state(0, 0, 100, has_account=False) is CreditState.NONE
