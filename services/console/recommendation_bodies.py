"""Request bodies and queries about recommendations. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field

from keyferry.contracts.power_comparison import DAYS_OF_MONTH, MAX_DAYS
from keyferry.contracts.rules import Rule
from services.console.bodies import IN_DIGITS, Body, QueryParameters


class RecommendationQuery(QueryParameters):
    """How many days are looked at."""

    days: Annotated[int, Field(ge=1, le=MAX_DAYS), IN_DIGITS] = DAYS_OF_MONTH


class RecommendedRuleBody(Body):
    """The rule of a recommendation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "rule": {
                        "name": "cheaper-summary-1a2b3c4d",
                        "when": {"operation": ["summary"], "model": ["gpt-5.5"]},
                        "chain": [{"model": "gpt-5-mini"}, {"model": "gpt-5.5"}],
                    }
                }
            ]
        }
    )

    rule: Rule
    """As the recommendation has it."""
