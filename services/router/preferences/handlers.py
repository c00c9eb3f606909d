"""The router's handlers of preferences on the bus."""

from collections.abc import Callable
from functools import partial

from keyferry.contracts.preferences import (
    GetPreferences,
    ListPreferences,
    Preferences,
    PreferencesInForce,
    SavedPreferences,
    SavedScopes,
    SavePreferences,
    ScopedCommand,
)
from keyferry.contracts.routing_management import PREFERENCES_GET, PREFERENCES_LIST, PREFERENCES_SAVE
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.router.outage import refuse_outages
from services.router.planning.context import RoutingContext
from services.router.preferences.effective import describe, resolve
from services.router.preferences.index import select_layers
from services.router.preferences.store import PreferenceStore, RevisionChanged
from services.router.preferences.validation import InvalidPreferences, check_preferences
from services.router.unreadable import require_tenant

ContextOf = Callable[[str], RoutingContext]
_CONTENTS = "preferences"
_UNKNOWN_WRITE = "so it is unknown whether the change was made: read them before you try again"


class PreferenceHandlers:
    """Answers requests about preferences. Every handler raises Refused."""

    def __init__(self, store: PreferenceStore, context_of: ContextOf) -> None:
        self._store = store
        self._context_of = context_of

    def register(self, bus: Bus) -> None:
        """Subscribe to requests about preferences. Call before the bus is started."""
        bus.respond(PREFERENCES_GET, self.get)
        bus.respond(PREFERENCES_SAVE, self.save)
        bus.respond(PREFERENCES_LIST, self.list_)

    async def get(self, command: GetPreferences) -> PreferencesInForce:
        """Return what is saved in a scope, and what is in force there."""
        self._require_tenant(command.tenant)
        return _in_force(command, await self._stored(command.tenant))

    async def save(self, command: SavePreferences) -> PreferencesInForce:
        """Replace the preferences of a scope, unless something they name is unknown, contradictory, or not allowed."""
        self._require_tenant(command.tenant)
        try:
            with refuse_outages(_UNKNOWN_WRITE, contents=_CONTENTS):
                await self._store.save(command, partial(check_preferences, command, context_of=self._context_of))
        except InvalidPreferences as error:
            raise Refused(ErrorCode.INVALID, f"nothing was saved: {error}") from None
        except RevisionChanged as error:
            message = (
                f"nothing was saved: these preferences are at revision {error.revision}, not {command.expected_revision}, since"
                " somebody else has changed them; read them again, and repeat the change"
            )
            raise Refused(ErrorCode.CONFLICT, message) from None
        return _in_force(command, await self._stored(command.tenant))

    async def list_(self, command: ListPreferences) -> SavedScopes:
        """Return the scopes of a tenant in which anything is saved."""
        self._require_tenant(command.tenant)
        stored = await self._stored(command.tenant)
        empty = Preferences()
        return SavedScopes(
            scopes=[each for each in stored if each.tenant == command.tenant and each.preferences != empty]
        )

    async def _stored(self, tenant: str) -> list[SavedPreferences]:
        with refuse_outages("so it cannot read them: try again in a moment", contents=_CONTENTS):
            return await self._store.relevant_to(tenant)

    def _require_tenant(self, tenant: str) -> None:
        if tenant != PLATFORM_TENANT:
            require_tenant(tenant, self._context_of(tenant))


def _in_force(command: ScopedCommand, stored: list[SavedPreferences]) -> PreferencesInForce:
    scopes = {(each.scope, each.scope_id): each for each in stored}
    layers = select_layers(scopes, command.tenant, command.team, command.member, command.client_token_id)
    own = scopes.get((command.scope, command.scope_id))
    return PreferencesInForce(
        tenant=command.tenant,
        scope=command.scope,
        scope_id=command.scope_id,
        revision=own.revision if own is not None else 0,
        saved=own.preferences if own is not None else Preferences(),
        effective=list(describe(resolve(layers))),
    )
