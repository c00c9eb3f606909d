"""Figures of usage for tests."""

from typing import Any

from keyferry.contracts.analytics_answers import UsageFigures
from keyferry.contracts.usage import TokenUsage


def figures(**changes: Any) -> UsageFigures:
    """Return the figures of one completed attempt, with changes."""
    values: dict[str, Any] = {
        "requests": 1,
        "attempts": 1,
        "completed": 1,
        "failed": 0,
        "cancelled": 0,
        "indeterminate": 0,
        "token_usage": TokenUsage(input=10, output=5),
        "total_tokens": 15,
        "cost_usd": "0.001",
        "unpriced": 0,
        "charge_micro_usd": 0,
        "charged": 0,
        "absorbed_micro_usd": 0,
        "spend_micro_usd": 1000,
        "spend_unknown": 0,
    }
    return UsageFigures.model_validate(values | changes)
