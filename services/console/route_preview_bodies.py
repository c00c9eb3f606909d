"""The body of a request for an explanation, and its answer. Pure."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.types import JsonValue

from keyferry.contracts.ids import Tags
from keyferry.contracts.power_comparison import DAYS_OF_MONTH, MAX_DAYS
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.route_preview import ExplainRoute
from keyferry.contracts.tenancy import ClientToken
from keyferry.contracts.text import Refusing
from services.console.bodies import IN_DIGITS, QueryParameters
from services.console.decision_steps import ExplainedDecision
from services.console.estimate_bodies import EstimateBody
from services.console.token_bodies import TOKEN_ID_PATTERN
from services.console.views import View

_EXAMPLES: list[JsonValue] = [
    {"model": "auto", "input_tokens": 1200, "operation": "summarize"},
    {"request": {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}, "power_level": "eco"},
]


class ExplainRouteBody(EstimateBody):
    """What to explain: a whole `request`, as it would be sent, or a `model` and numbers of tokens."""

    model_config = ConfigDict(json_schema_extra={"examples": _EXAMPLES})

    tags: Tags = Field(default_factory=dict)
    client_token: (
        Annotated[str, Refusing(64, pattern=TOKEN_ID_PATTERN, form="a client token's id, as the list shows it")] | None
    ) = None
    """With whose limits, team and member it would be sent; its `team` and `member` are left out here."""

    def to_question(self, tenant: str, token: ClientToken | None) -> ExplainRoute:
        """Return the question to the router, which has numbers of the request and nothing of its text."""
        values: dict[str, Any] = self.to_command(tenant).model_dump() | {"tags": self.tags}
        if token is not None:
            values |= {"client_token_id": token.token_id, "allowed_models": token.allowed_models}
            values |= {"team": values["team"] or token.team, "member": values["member"] or token.member}
        return ExplainRoute.model_validate(values)


class RoutePreview(View):
    """What the router would decide now. Nothing was sent, held or recorded; limits and credits were not looked at."""

    decision: DecisionRecord
    """Its ids are of no request."""
    explained: ExplainedDecision


class ComparisonQuery(QueryParameters):
    """Whose traffic to compare power levels on."""

    days: Annotated[int, Field(ge=1, le=MAX_DAYS), IN_DIGITS] = DAYS_OF_MONTH
    """So many days up to now."""
