"""Request bodies about budgets. Pure."""

from typing import Self

from pydantic import ConfigDict, Field, StrictBool, model_validator

from keyferry.contracts.budget import (
    USUAL_THRESHOLDS,
    BudgetName,
    BudgetScope,
    BudgetValue,
    BudgetWindow,
    LimitUsd,
    Thresholds,
    check_value,
    limit_in_micro_usd,
)
from services.console.bodies import Body, Revision


class NewBudgetBody(Body):
    """All terms of a budget."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "scope": "team",
                    "value": "research",
                    "window": {"calendar": "month", "time_zone": "Europe/Berlin"},
                    "limit_usd": "250",
                    "hard": True,
                    "thresholds": [80, 100],
                }
            ]
        }
    )

    name: BudgetName | None = None
    """For people."""
    scope: BudgetScope
    """What it counts of the tenant's attempts."""
    value: BudgetValue | None = None
    """Whose spending it is; null for the tenant's."""
    window: BudgetWindow
    limit_usd: LimitUsd
    """How much may be spent in each window, in dollars as text with at most six decimal places."""
    hard: StrictBool = True
    """Whether requests that do not fit are refused. If not, the budget only shows what is spent."""
    thresholds: Thresholds = Field(default=list(USUAL_THRESHOLDS))
    """Percents of the limit at which the state says that they are passed."""
    enabled: StrictBool = True
    """If not, nothing is refused; spending is counted all the same."""

    @model_validator(mode="after")
    def _require_value(self) -> Self:
        check_value(self.scope, self.value)
        return self

    def terms(self) -> dict[str, object]:
        """Return the terms as commands have them."""
        found = self.model_dump(exclude={"limit_usd", "revision"})
        return found | {"limit_micro_usd": limit_in_micro_usd(self.limit_usd)}


class BudgetBody(NewBudgetBody):
    """All terms of a budget that replace those that are saved; its scope and window stay as they are."""

    revision: Revision | None = None
    """The revision that these replace, as it was read. Null replaces whatever is there."""
