"""Terms of budgets are complete and bounded, and nothing unknown is accepted."""

from typing import Any

import pytest
from pydantic import ValidationError

from keyferry.contracts.budget import MAX_LIMIT_MICRO_USD, MAX_ROLLING_HOURS, Budget, BudgetWindow, SaveBudget
from keyferry.contracts.envelope import MalformedMessage

STORED = {"budget_id": "bud_1", "revision": 1, "created_at": "2026-11-29T09:00:00Z"}


def save(**fields: Any) -> SaveBudget:
    terms: dict[str, Any] = {
        "tenant": "acme",
        "scope": "team",
        "value": "research",
        "window": {"calendar": "month", "time_zone": "Europe/Berlin"},
        "limit_micro_usd": 100_000_000,
    }
    return SaveBudget.model_validate(terms | fields)


def test_budget_is_read_as_it_was_written() -> None:
    given = save(thresholds=[100, 50, 50], name="Research")
    stored = Budget.model_validate(given.model_dump(exclude={"budget_id", "expected_revision", "actor"}) | STORED)
    assert Budget.decode(stored.encode()) == stored
    assert stored.thresholds == [50, 100]


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT_MICRO_USD + 1, 10**40, 1.5, "5", True, None, float("nan")])
def test_limit_is_a_positive_amount(limit: Any) -> None:
    with pytest.raises(ValidationError):
        save(limit_micro_usd=limit)


@pytest.mark.parametrize(
    "window",
    [
        {},
        {"calendar": "year"},
        {"calendar": "month", "rolling_hours": 1},
        {"rolling_hours": 0},
        {"rolling_hours": MAX_ROLLING_HOURS + 1},
        {"rolling_hours": 24, "time_zone": "Europe/Berlin"},
        {"rolling_hours": "24"},
        {"calendar": "day", "time_zone": "Mars/Olympus"},
        {"calendar": "day", "time_zone": "right/UTC"},
        {"calendar": "day", "time_zone": "localtime"},
        {"calendar": "day", "time_zone": "../../etc/passwd"},
        {"calendar": "day", "time_zone": "/etc/localtime"},
        {"calendar": "day", "time_zone": "Europe"},
        {"calendar": "day", "time_zone": "UTC\x00"},
        {"calendar": "day", "time_zone": "\ud800"},
        {"calendar": "day", "time_zone": "x" * 10**6},
        {"calendar": "day", "period": "month"},
    ],
)
def test_window_is_of_one_known_kind(window: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BudgetWindow.model_validate(window)


@pytest.mark.parametrize(
    "fields",
    [
        {"value": None},
        {"value": ""},
        {"value": "a b"},
        {"value": "a\x00"},
        {"value": "\udc80"},
        {"value": "x" * 10**6},
        {"value": "sk-ant-api03-" + "x4Y7" * 20},
        {"scope": "tenant"},
        {"scope": "user"},
        {"tenant": "platform"},
        {"thresholds": [0]},
        {"thresholds": [1001]},
        {"thresholds": list(range(1, 12))},
        {"thresholds": [10**40]},
        {"thresholds": ["80"]},
        {"hard": "yes"},
        {"enabled": 1},
        {"name": "\u200b"},
        {"name": "a\x00"},
        {"name": "sk-ant-api03-" + "x4Y7" * 20},
        {"budget_id": "bud_"},
        {"budget_id": "bud_1/2"},
        {"budget_id": "key_1"},
        {"expected_revision": 0},
        {"budget": 5},
        {"limit_usd": "5"},
    ],
)
def test_other_terms_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        save(**fields)
    assert "x4Y7" not in str(raised.value.errors(include_input=False))


def test_view_entry_with_an_unknown_kind_of_window_cannot_be_read() -> None:
    stored = Budget.model_validate(
        save().model_dump(exclude={"budget_id", "expected_revision", "actor"}) | STORED
    ).encode()
    with pytest.raises(MalformedMessage):
        Budget.decode(stored.replace(b'"calendar":', b'"fiscal":1,"calendar":'))
