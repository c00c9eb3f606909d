"""What `keyferry ledger margin`, `keyferry ledger rerate` and `keyferry allowance` print."""

from datetime import UTC, datetime
from decimal import Decimal

from keyferry.cli.allowance import format_allowance
from keyferry.cli.ledger import format_margin, format_rerating
from keyferry.contracts.charges import (
    AllowanceState,
    Margin,
    MarginRow,
    PlanShare,
    RerateAmounts,
    RerateTenant,
    Rerating,
)
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.tenancy import Tier

SINCE, UNTIL = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
ROW = MarginRow(
    tier=Tier.STARTER,
    level=PowerLevel.ECO,
    attempts=3,
    unpriced=1,
    free=0,
    provider_cost_usd=Decimal("0.002"),
    revenue_usd=Decimal("0.00028"),
    absorbed_usd=Decimal(0),
    margin_usd=Decimal("-0.00172"),
)


def test_a_margin_is_a_table_with_its_total_and_the_plans_below_cost() -> None:
    below = [PlanShare(tier=Tier.STARTER, level=PowerLevel.ECO, share_of_cost=Decimal("0.14"))]
    found = Margin(
        since=SINCE,
        until=UNTIL,
        plan_version="v1",
        rows=[ROW],
        total=ROW.model_copy(update={"tier": None, "level": None}),
        below_cost=below,
    )
    head, table, unknown, plans = format_margin(found)
    assert head == "2026-11-01 00:00:00Z to 2026-12-01 00:00:00Z, billing plan v1"
    assert table.splitlines()[1].split() == ["starter", "eco", "3", "0", "$0.002", "$0.00028", "$0", "$-0.00172"]
    assert table.splitlines()[2].split()[0] == "all"
    assert unknown == "the cost of 1 attempts is unknown and in no amount"
    assert plans == "below the provider's cost (share that is charged): starter eco 0.14"


def test_a_re_rating_says_what_it_did_and_its_id() -> None:
    amounts = RerateAmounts(
        examined=9,
        corrected=5,
        unknown=2,
        cost_difference_usd=Decimal("0.5"),
        charged_usd=Decimal("0.4"),
        refunded_usd=Decimal(0),
        absorbed_usd=Decimal("0.1"),
    )
    tenant = RerateTenant(tenant="acme", **amounts.model_dump())
    found = Rerating(
        rerate_id="rerate_1",
        provider="openai",
        model="m",
        since=SINCE,
        until=UNTIL,
        dry_run=False,
        repeated=False,
        plan_version="v1",
        total=amounts,
        tenants=[tenant],
    )
    head, table, *rest = format_rerating(found)
    assert head == "openai m since 2026-11-01 00:00:00Z, billing plan v1"
    assert table.splitlines()[1].split() == ["acme", "9", "5", "$0.5", "$0.4", "$0", "$0.1"]
    assert rest == [
        "corrected 5 of 9 attempts",
        "2 attempts stay as they are: no price, or unknown usage",
        "the platform bears $0.1: some tenants have too few credits",
        "its id is rerate_1; repeating it has no further effect",
    ]
    assert "would correct 5 of 9 attempts" in format_rerating(found.model_copy(update={"dry_run": True}))
    assert "had corrected before 5 of 9 attempts" in format_rerating(found.model_copy(update={"repeated": True}))


def test_an_allowance_is_a_line_and_the_notice() -> None:
    state = AllowanceState(
        tenant="acme", month="2026-11", requests=50, used=46, held=1, left=3, resets_at=UNTIL, notice="46 of 50"
    )
    assert format_allowance(state) == [
        "acme, 2026-11: 46 of 50 free requests used, 1 held for requests that run; next ones from 2026-12-01 00:00:00Z",
        "46 of 50",
    ]
    assert format_allowance(state.model_copy(update={"requests": 0})) == ["acme: its tier has no free requests"]
