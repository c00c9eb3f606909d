"""From the query of a model list to the question for the router. Pure."""

from collections.abc import Iterator

from keyferry.contracts.route import ListModels
from services.console.bodies import ModelFilters
from services.console.problem import INVALID_REQUEST, Problem

_FILTERS = "filter takes eu, recommended, recommended:OPERATION or provider:NAME, several separated by commas"
_AS_ASKED = ("tier", "model_class", "capability", "sort")


def question(tenant: str, query: ModelFilters) -> ListModels:
    """What to ask the router. Raises Problem 400 for a filter that is none."""
    asked: dict[str, object] = {name: getattr(query, name) for name in _AS_ASKED}
    if query.filter is not None:
        asked |= dict(_filters(query.filter))
    asked["unavailable"] = query.available == "all" or None
    asked["unapproved"] = query.approved == "all" or None
    return ListModels.model_validate({"tenant": tenant, **asked})


def _filters(text: str) -> Iterator[tuple[str, object]]:
    for part in text.split(","):
        name, _, value = part.strip().partition(":")
        if name == "eu" and not value:
            yield "eu", True
        elif name == "recommended":
            yield "recommended", value or "any"
        elif name == "provider" and value:
            yield "provider", value
        else:
            raise Problem(400, INVALID_REQUEST, "invalid_value", _FILTERS, param="filter")
