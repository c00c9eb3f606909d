"""Routes for preferences: of a tenant, its teams, members and client tokens, and of the whole installation."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Query

from keyferry.contracts.preference_preview import PreferencesPreview, PreviewPreferences
from keyferry.contracts.preferences import (
    GetPreferences,
    GivenPreferences,
    ListPreferences,
    PreferencesInForce,
    SavedScopes,
    SavePreferences,
)
from keyferry.contracts.routing_management import (
    PREFERENCES_GET,
    PREFERENCES_LIST,
    PREFERENCES_PREVIEW,
    PREFERENCES_SAVE,
)
from keyferry.contracts.tenancy import PLATFORM_TENANT, ListClientTokens
from keyferry.contracts.topology import TOKEN_LIST
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.access import RouteSpec
from services.console.preference_bodies import (
    PowerLevelBody,
    PowerLevelInForce,
    PreferencesBody,
    ScopeQuery,
)
from services.console.problem import not_found
from services.console.service_client import RULES_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant, TenantContext

_POWER_LEVEL = "power_level"


class PreferenceRoutes:
    """The routes `/preferences` and `/power-level`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/preferences", "get_preferences", self.get),
            RouteSpec("PUT", "/preferences", "save_preferences", self.save),
            RouteSpec("GET", "/preferences/scopes", "list_preferences", self.list_),
            RouteSpec("POST", "/preferences/preview", "preview_preferences", self.preview),
            RouteSpec("GET", "/power-level", "get_power_level", self.get_power_level),
            RouteSpec("PUT", "/power-level", "set_power_level", self.set_power_level),
        )

    async def get(self, context: CurrentTenant, query: Annotated[ScopeQuery, Query()]) -> PreferencesInForce:
        """Return what is saved in a scope, and every value in force there with its origin.

        Name several scopes to see what holds for all together; a client token brings its team and its member.
        """
        return await self._get(context, query)

    async def save(
        self, context: CurrentTenant, query: Annotated[ScopeQuery, Query()], body: PreferencesBody
    ) -> PreferencesInForce:
        """Replace all preferences of one scope: an omitted one is not set there any more.

        With `revision` nothing is saved (409) if somebody else has changed them since that revision was read.
        """
        scope = await self._one_scope(context, query)
        return await self._save(context, scope, body.preferences(), body.revision)

    async def preview(
        self, context: CurrentTenant, query: Annotated[ScopeQuery, Query()], body: PreferencesBody
    ) -> PreferencesPreview:
        """Return what would change if these were all preferences of the scope: models that remain, and past requests.

        Nothing is saved. A sample of the requests of the last 30 days is planned again with today's keys, and without health.
        """
        scope = await self._one_scope(context, query)
        command = PreviewPreferences.model_validate(
            {"tenant": context.tenant, "preferences": body.preferences(), **scope}
        )
        return await self._services.read(PREFERENCES_PREVIEW, command, timeout_seconds=RULES_SECONDS)

    async def list_(self, context: CurrentTenant) -> SavedScopes:
        """List the scopes in which anything is saved, the broadest first."""
        return await self._services.read(PREFERENCES_LIST, ListPreferences(tenant=context.tenant))

    async def get_power_level(self, context: CurrentTenant, query: Annotated[ScopeQuery, Query()]) -> PowerLevelInForce:
        """Return the power level in force in a scope, and its origin."""
        return PowerLevelInForce.of(await self._get(context, query))

    async def set_power_level(
        self, context: CurrentTenant, query: Annotated[ScopeQuery, Query()], body: PowerLevelBody
    ) -> PowerLevelInForce:
        """Set the power level of a scope, and leave its other preferences as they are; null sets none."""
        scope = await self._one_scope(context, query)
        command = GetPreferences.model_validate({"tenant": context.tenant, **scope})
        found = await self._services.read(PREFERENCES_GET, command)
        saved = found.saved.model_dump(exclude_none=True) | {_POWER_LEVEL: body.power_level}
        preferences = GivenPreferences.model_validate(saved)
        return PowerLevelInForce.of(await self._save(context, scope, preferences, found.revision))

    async def _get(self, context: TenantContext, query: ScopeQuery) -> PreferencesInForce:
        names = query.names()
        _check_platform(context, names)
        if query.client_token is not None:
            # The token's own team and member hold for its requests, unless the caller asks for others.
            names = {**await self._scopes_of_token(context, query.client_token), **names}
        command = GetPreferences.model_validate({"tenant": context.tenant, **names})
        return await self._services.read(PREFERENCES_GET, command)

    async def _save(
        self, context: TenantContext, scope: Mapping[str, str], preferences: GivenPreferences, revision: int | None
    ) -> PreferencesInForce:
        command = SavePreferences.model_validate(
            {
                "tenant": context.tenant,
                "actor": context.actor,
                "preferences": preferences,
                "expected_revision": revision,
                **scope,
            }
        )
        return await self._services.change(PREFERENCES_SAVE, command)

    async def _one_scope(self, context: TenantContext, query: ScopeQuery) -> Mapping[str, str]:
        """Return the scope that is to be changed. Raises HttpProblem for several, and for a client token that does not exist."""
        names = query.names()
        _check_platform(context, names)
        if len(names) > 1:
            message = "preferences are saved in one scope: give team, member or client_token, or none for the tenant"
            raise HttpProblem(422, INVALID_REQUEST, "invalid_value", message, param=sorted(names)[0])
        if query.client_token is not None:
            await self._scopes_of_token(context, query.client_token)
        return names

    async def _scopes_of_token(self, context: TenantContext, token_id: str) -> dict[str, str]:
        found = await self._services.read(TOKEN_LIST, ListClientTokens(tenant=context.tenant))
        for token in found.tokens:
            if token.token_id == token_id:
                return {name: value for name, value in (("team", token.team), ("member", token.member)) if value}
        raise not_found("the tenant has no such client token; the list shows every token's id")


def _check_platform(context: TenantContext, names: Mapping[str, str]) -> None:
    """Refuse the scopes of a tenant for the platform, which has none."""
    if context.tenant == PLATFORM_TENANT and names:
        message = (
            "the platform has no teams, members and client tokens: leave them out, or name a tenant in the path"
            " (/api/v1/ops/tenants/TENANT/preferences)"
        )
        raise HttpProblem(422, INVALID_REQUEST, "invalid_value", message, param=min(names))
