"""The account of free requests: its months, its funding, and the notice."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.accounts import ALLOWANCES
from keyferry.contracts.tenancy import Tier
from services.usage_ledger.accounts.transfer import TransferPurpose
from services.usage_ledger.charges.allowance import describe_allowance, fund_allowance

PLAN = BillingPlan.parse(BUNDLED_PLAN.read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def test_the_first_use_funds_the_months_account() -> None:
    transfer = fund_allowance("acme", "allowance/acme/2026-11", Tier.FREE, PLAN, NOW)
    assert transfer is not None
    assert (transfer.transfer_id, transfer.debit, transfer.credit, transfer.amount, transfer.purpose) == (
        "fund:allowance/acme/2026-11", ALLOWANCES, "allowance/acme/2026-11", 50, TransferPurpose.FUNDING,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("account", "tier", "now"),
    [
        ("allowance/acme/2026-11", Tier.STARTER, NOW),
        ("allowance/acme/2026-10", Tier.FREE, NOW),
        ("allowance/acme/2026-12", Tier.FREE, NOW),
        ("allowance/other/2026-11", Tier.FREE, NOW),
        ("allowance/acme/2026-11/x", Tier.FREE, NOW),
        ("allowance/acme/2026-11", Tier.FREE, datetime(2026, 12, 1, tzinfo=UTC)),
        # Already December in Kiritimati: months are those of UTC.
        ("allowance/acme/2026-12", Tier.FREE, datetime(2026, 12, 1, 1, tzinfo=timezone(timedelta(hours=14)))),
    ],
)
def test_there_is_no_other_account(account: str, tier: Tier, now: datetime) -> None:
    assert fund_allowance("acme", account, tier, PLAN, now) is None


def test_a_router_whose_clock_is_ahead_finds_the_next_month() -> None:
    late = datetime(2026, 11, 30, 23, 59, 59, 900_000, tzinfo=UTC)
    for account in ("allowance/acme/2026-12", "allowance/acme/2026-11"):
        assert fund_allowance("acme", account, Tier.FREE, PLAN, late) is not None


@pytest.mark.parametrize(
    ("available", "held", "used", "notice"),
    [
        (50, 0, 0, None),
        (6, 0, 44, None),
        (0, 6, 44, None),
        (5, 0, 45, "45 of 50 free requests of November 2026 are used: 5 are left; then requests take credits"),
        (0, 0, 50, "50 of 50 free requests of November 2026 are used: further ones take credits"),
    ],
)
def test_the_notice_begins_at_45(available: int, held: int, used: int, notice: str | None) -> None:
    found = describe_allowance("acme", Tier.FREE, PLAN, NOW, funded=50, available=available, held=held)
    assert (found.requests, found.used, found.held, found.left, found.notice) == (50, used, held, available, notice)
    assert (found.month, found.resets_at) == ("2026-11", datetime(2026, 12, 1, tzinfo=UTC))


@pytest.mark.usefixtures("far_east")
@pytest.mark.parametrize(
    ("now", "resets_at"),
    [
        (datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2027, 1, 31, 12, 30, 30, 5, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)),
        (datetime(2026, 12, 1, 1, tzinfo=timezone(timedelta(hours=14))), datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_free_requests_come_back_with_the_next_month_of_utc(now: datetime, resets_at: datetime) -> None:
    found = describe_allowance("acme", Tier.FREE, PLAN, now, funded=50, available=0, held=0)
    assert (found.resets_at, found.resets_at.tzinfo) == (resets_at, UTC)
    last = resets_at - timedelta(days=1)
    assert (found.month, f"requests of {last:%B %Y} are used" in (found.notice or "")) == (f"{last:%Y-%m}", True)


def test_nothing_used_and_nothing_included() -> None:
    unused = describe_allowance("acme", Tier.FREE, PLAN, NOW, funded=None, available=0, held=0)
    assert (unused.requests, unused.used, unused.left, unused.held) == (50, 0, 50, 0)
    none = describe_allowance("acme", Tier.STARTER, PLAN, NOW, funded=None, available=0, held=0)
    assert (none.requests, none.left, none.notice) == (0, 0, None)
    upgraded = describe_allowance("acme", Tier.STARTER, PLAN, NOW, funded=50, available=3, held=0)
    assert (upgraded.requests, upgraded.used, upgraded.left, upgraded.held, upgraded.notice) == (0, 0, 0, 0, None)
