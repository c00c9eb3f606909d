"""Credits over HTTP."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from keyferry.contracts.credit_management import (
    AdjustCredits,
    CreditBalance,
    CreditHistory,
    CreditsChanged,
    GetCredits,
    GrantCredits,
    ListCreditHistory,
    SetCreditThreshold,
)
from keyferry.contracts.ledger_management import (
    CREDIT_ADJUST,
    CREDIT_GET,
    CREDIT_GRANT,
    CREDIT_HISTORY,
    CREDIT_THRESHOLD,
)
from tests.unit.console.surface import Surface, error

PATH = "/api/v1/ops/tenants/acme/credits"
ACTOR = "console:operator"
BALANCE = CreditBalance.model_validate(
    {
        "tenant": "acme",
        "balance": "12.5",
        "available": "10",
        "held": "2.5",
        "balance_usd": "0.0125",
        "state": "low",
        "low_below": "1000",
        "spent_7_days": "0",
        "as_of": datetime(2026, 11, 29, tzinfo=UTC),
    }
)
CHANGED = CreditsChanged(entry_id="credit:acme:k", repeated=False, credits=BALANCE)


async def test_a_balance_has_exact_amounts_as_text() -> None:
    surface = Surface()
    surface.bus.answers(CREDIT_GET, BALANCE)
    found = (await surface.ask("GET", PATH)).json()
    assert (found["balance"], found["held"], found["balance_usd"]) == ("12.5", "2.5", "0.0125")
    assert found["days_left"] is None
    assert (CREDIT_GET.name, GetCredits(tenant="acme")) in surface.bus.asked


async def test_grants_adjustments_and_thresholds_name_their_actor() -> None:
    surface = Surface()
    surface.bus.answers(CREDIT_GRANT, CHANGED)
    surface.bus.answers(CREDIT_ADJUST, CHANGED)
    surface.bus.answers(CREDIT_THRESHOLD, BALANCE)
    body = {"credits": "50.5", "idempotency_key": "k", "reason": "welcome"}
    source = {"source": "stripe", "source_id": "evt_1"}
    assert (await surface.ask("POST", f"{PATH}/grants", body | source)).status_code == 201
    assert (await surface.ask("POST", f"{PATH}/adjustments", body | {"credits": "-5"})).status_code == 201
    assert (await surface.ask("PUT", f"{PATH}/threshold", {"credits": None})).status_code == 200
    common = {"tenant": "acme", "actor": ACTOR, "idempotency_key": "k", "reason": "welcome"}
    for name, command in (
        (CREDIT_GRANT.name, GrantCredits(credits=Decimal("50.5"), **common, **source)),
        (CREDIT_ADJUST.name, AdjustCredits(credits=Decimal(-5), **common)),
        (CREDIT_THRESHOLD.name, SetCreditThreshold(tenant="acme", actor=ACTOR)),
    ):
        assert (name, command) in surface.bus.asked


async def test_a_page_of_history_follows_its_cursor() -> None:
    surface = Surface()
    surface.bus.answers(CREDIT_HISTORY, CreditHistory(tenant="acme", entries=[], next="17:x"))
    found = await surface.ask("GET", f"{PATH}/history?limit=7&after=18:y")
    assert found.json() == {"tenant": "acme", "entries": [], "next": "17:x"}
    assert (CREDIT_HISTORY.name, ListCreditHistory(tenant="acme", limit=7, after="18:y")) in surface.bus.asked


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/grants", {"credits": "5", "reason": "no key"}),
        ("POST", "/grants", {"credits": "-5", "idempotency_key": "k", "reason": "r"}),
        ("POST", "/grants", {"credits": 0.5, "idempotency_key": "k", "reason": "r"}),
        ("POST", "/grants", {"credits": "5", "idempotency_key": "k", "reason": " "}),
        ("POST", "/grants", {"credits": "5", "idempotency_key": "k", "reason": "r", "actor": "me"}),
        ("POST", "/adjustments", {"credits": "0", "idempotency_key": "k", "reason": "r"}),
        ("PUT", "/threshold", {}),
        ("GET", "/history?limit=201", None),
    ],
)
async def test_what_is_not_clear_changes_nothing(method: str, path: str, body: object) -> None:
    surface = Surface()
    assert error(await surface.ask(method, f"{PATH}{path}", body))[0] in (400, 422)
    assert not [name for name, _ in surface.bus.asked if name.startswith("credits")]
