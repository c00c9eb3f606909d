"""Hard constraints on a candidate, besides those of keys and health: what the model can do, and where it may run. Pure."""

from collections.abc import Callable

from keyferry.contracts.catalog import Offering
from keyferry.contracts.route import DropReason, Endpoint
from services.router.catalog.lookup import ResolvedModel
from services.router.planning.choice import ChosenModel
from services.router.planning.context import RouteRequest, RoutingContext

Place = Offering | Endpoint
"""Where a candidate would be served: an offering of the model, or an endpoint of the tenant."""
Violation = tuple[DropReason, str] | None
"""Why a candidate must not be used, as a reason code and a text; None if it may."""
Constraint = Callable[[RouteRequest, RoutingContext, ChosenModel, ResolvedModel, Place], Violation]


def _check_chain(
    request: RouteRequest, context: RoutingContext, chosen: ChosenModel, resolved: ResolvedModel, place: Place
) -> Violation:
    """Keep the models of a chain like `privacy` inside the European Union; a tenant's own endpoint is its own choice."""
    if not chosen.eu_only or not isinstance(place, Offering) or place.eu:
        return None
    detail = f"{place.provider} does not process {place.upstream} inside the European Union: {chosen.detail}"
    return DropReason.OUTSIDE_EU, detail


CONSTRAINTS: tuple[Constraint, ...] = (_check_chain,)
"""Checked in this order; the first violation is the reason."""


def check_constraints(
    request: RouteRequest, context: RoutingContext, chosen: ChosenModel, resolved: ResolvedModel, place: Place
) -> Violation:
    """Return why a candidate must not be used; None if it may."""
    for constraint in CONSTRAINTS:
        if (violation := constraint(request, context, chosen, resolved, place)) is not None:
            return violation
    return None
