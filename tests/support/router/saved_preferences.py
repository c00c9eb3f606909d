"""Preferences as they are saved, and what is in force with them."""

from collections.abc import Callable
from typing import Any

from keyferry.contracts.preferences import Preferences, PreferenceScope, SavedPreferences
from services.router.planning.context import RouteRequest
from services.router.preferences.effective import EffectivePreferences
from services.router.preferences.index import PreferenceIndex

_IDS = {
    PreferenceScope.PLATFORM: "platform",
    PreferenceScope.TENANT: "acme",
    PreferenceScope.TEAM: "support",
    PreferenceScope.MEMBER: "alice",
    PreferenceScope.CLIENT_TOKEN: "tok_1",
}


def saved(scope: str = "tenant", /, **values: Any) -> SavedPreferences:
    """Return what is saved in one scope: of the tenant `acme`, its team `support`, member `alice` or token `tok_1`."""
    kind = PreferenceScope(scope)
    tenant = "platform" if kind is PreferenceScope.PLATFORM else "acme"
    preferences = Preferences.model_validate(values)
    return SavedPreferences(tenant=tenant, scope=kind, scope_id=_IDS[kind], revision=1, preferences=preferences)


def in_force(*scopes: SavedPreferences) -> Callable[[RouteRequest], EffectivePreferences]:
    """Return the preferences of a routing context in which these scopes are saved."""
    index = PreferenceIndex()
    for tenant in {each.tenant for each in scopes}:
        index.replace(tenant, scopes)
    return lambda request: index.of(request.tenant, request.team, request.member, request.client_token_id)
