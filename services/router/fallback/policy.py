"""What a request's preferences allow after a failed attempt. Pure."""

from functools import cache

from keyferry.contracts.fallback import FallbackPolicy
from keyferry.contracts.features import VIRTUAL_MODELS
from services.router.planning.context import RouteRequest, RoutingContext


def policy_of(request: RouteRequest, context: RoutingContext) -> FallbackPolicy:
    """Return what a request allows beyond the table of fallbacks.

    A model that is named never becomes another because the request is too long for it, unless the preferences name a chain.
    """
    preferences = context.preferences(request)
    return _policy(
        preferences.fallback_on_content_filter,
        preferences.fallback_after_possible_charge,
        request.model in VIRTUAL_MODELS or preferences.fallback_chain is not None,
    )


@cache
def _policy(content_filter: bool, possible_charge: bool, longer_models: bool) -> FallbackPolicy:
    return FallbackPolicy(
        after_content_filter=content_filter, after_possible_charge=possible_charge, longer_models=longer_models
    )
