"""From the query of a model list to the question for the router. Pure."""

from keyferry.contracts.model_filter import InvalidFilter, filters_in
from keyferry.contracts.route import ListModels
from services.console.bodies import ModelFilters
from services.console.problem import INVALID_REQUEST, Problem

_FILTERS = "filter takes eu, recommended, recommended:OPERATION or provider:NAME, several separated by commas"
_AS_ASKED = ("tier", "model_class", "capability", "sort")


def question(tenant: str, query: ModelFilters) -> ListModels:
    """What to ask the router. Raises Problem 400 for a filter that is none."""
    asked: dict[str, object] = {name: getattr(query, name) for name in _AS_ASKED}
    if query.filter is not None:
        asked |= _filters(query.filter)
    asked["unavailable"] = query.available == "all" or None
    asked["unapproved"] = query.approved == "all" or None
    return ListModels.model_validate({"tenant": tenant, **asked})


def _filters(text: str) -> dict[str, object]:
    try:
        return filters_in(text)
    except InvalidFilter:
        raise Problem(400, INVALID_REQUEST, "invalid_value", _FILTERS, param="filter") from None
