"""Statements for tests."""

from datetime import UTC, datetime
from typing import Any

from keyferry.contracts.analytics import Dimension
from keyferry.contracts.analytics_answers import BreakdownRow, DimensionValue, ValueKind
from keyferry.contracts.statements import Statement
from tests.support.ledger.usage_figures import figures

MONTH: dict[str, Any] = {
    "month": "2026-10",
    "tz": "Europe/Berlin",
    "since": datetime(2026, 9, 30, 22, tzinfo=UTC),
    "until": datetime(2026, 10, 31, 23, tzinfo=UTC),
    "state": "closed",
}


def line(model: str, team: str | None = None, **changes: Any) -> BreakdownRow:
    """Return a line of one completed attempt, with changes."""
    values = ((Dimension.MODEL, model), (Dimension.PROVIDER, "openai"), (Dimension.KEY_SOURCE, "platform"))
    keys = [DimensionValue(dimension=dimension, value=value) for dimension, value in values]
    kind = ValueKind.NONE if team is None else ValueKind.VALUE
    keys.append(DimensionValue(dimension=Dimension.TEAM, kind=kind, value=team))
    return BreakdownRow(keys=keys, figures=figures(**changes))


def statement(**changes: Any) -> Statement:
    """Return the statement of a small month, with changes."""
    lines = [line("small", "red", charge_micro_usd=3), line("large", None, charge_micro_usd=4)]
    by_model = [
        BreakdownRow(keys=each.keys[:1], figures=each.figures) for each in lines
    ]  # one line of each model, so the same figures
    values: dict[str, Any] = {
        **MONTH,
        "tenant": "acme",
        "tenant_name": "Zażółć Ἑλλάς 株式会社 한국 Привет 🎉",
        "as_of": datetime(2026, 11, 29, 9, 40, tzinfo=UTC),
        "account": {
            "opening_micro_usd": 1_000_000,
            "closing_micro_usd": 1_499_993,
            "sums": [
                {"kind": "purchase", "transfers": 1, "amount_micro_usd": 500_000},
                {"kind": "charge", "transfers": 2, "amount_micro_usd": -7},
            ],
            "entries": [
                {
                    "entry_id": "credit:1",
                    "kind": "purchase",
                    "at": datetime(2026, 10, 5, tzinfo=UTC),
                    "amount_micro_usd": 500_000,
                    "reason": "=HYPERLINK(0)",
                    "source": "stripe",
                    "source_id": "pi_1",
                }
            ],
        },
        "total": figures(requests=2, attempts=2, completed=2, charge_micro_usd=7, cost_usd="0.002", total_tokens=30),
        "own_keys": figures(requests=0, attempts=0, completed=0, cost_usd="0", total_tokens=0),
        "platform_keys": figures(requests=2, attempts=2, completed=2, charge_micro_usd=7, cost_usd="0.002"),
        "by": ["model", "provider", "key_source", "team"],
        "lines": lines,
        "breakdowns": [{"by": "model", "rows": by_model}],
        "reconciliation": {"usage_micro_usd": 7, "lines": [], "posted_micro_usd": 7},
        "fingerprint": "0123456789abcdef" * 4,
    }
    return Statement.model_validate(values | changes)
