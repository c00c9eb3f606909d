"""Saved preferences by tenant and scope, and what is in force for a request, resolved when it is first needed. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

from keyferry.contracts.preferences import PreferenceScope, SavedPreferences
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.router.preferences.effective import EffectivePreferences, resolve

_MAX_RESOLVED = 10_000
"""How many combinations of team, member and token are kept resolved of one tenant, and of layers altogether."""
_SCOPE_ID_BYTES = 16

ScopeKey = tuple[PreferenceScope, str]
Scopes = tuple[str | None, str | None, str | None]
"""The team, the member and the client token of a request."""


def view_key(saved: SavedPreferences) -> str:
    """Return the key of a scope in the view: names of teams and members have characters that a subject must not have."""
    return scope_key(saved.tenant, saved.scope, saved.scope_id)


def scope_key(tenant: str, scope: str, scope_id: str) -> str:
    """Return the key of a scope in the view, by its parts."""
    digest = blake2b(scope_id.encode(), digest_size=_SCOPE_ID_BYTES).hexdigest()
    return f"{tenant}.{scope}.{digest}"


class PreferenceIndex:
    """All saved preferences by tenant, and what was resolved of them."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, dict[ScopeKey, SavedPreferences]] = {}
        self._resolved: dict[str, dict[Scopes, EffectivePreferences]] = {}
        self._of_layers: dict[tuple[int, ...], tuple[Sequence[SavedPreferences], EffectivePreferences]] = {}
        """What layers resolve to by their identities; the layers are kept, so that no other object gets the same."""

    def replace(self, tenant: str, saved: Iterable[SavedPreferences]) -> None:
        """Replace the scopes of one tenant, or those of the platform, which apply to all."""
        found = {(each.scope, each.scope_id): each for each in saved if each.tenant == tenant}
        if found:
            self._by_tenant[tenant] = found
        else:
            self._by_tenant.pop(tenant, None)
        if tenant == PLATFORM_TENANT:
            self._resolved = {}
            self._of_layers = {}
        else:
            self._resolved.pop(tenant, None)

    def all_saved(self) -> list[SavedPreferences]:
        """Return what is saved in all scopes of all tenants."""
        return [saved for scopes in self._by_tenant.values() for saved in scopes.values()]

    def of(
        self, tenant: str, team: str | None, member: str | None, client_token_id: str | None
    ) -> EffectivePreferences:
        """Return what is in force for a request of these scopes."""
        scopes = (team, member, client_token_id)
        resolved = self._resolved.get(tenant)
        if resolved is None or len(resolved) >= _MAX_RESOLVED:
            resolved = self._resolved[tenant] = {}
        found = resolved.get(scopes)
        if found is None:
            found = resolved[scopes] = self._resolve(self.layers(tenant, *scopes))
        return found

    def _resolve(self, layers: Sequence[SavedPreferences]) -> EffectivePreferences:
        """Return one and the same object for all scopes to which the same layers apply.

        What is built from it, such as the tables of power levels, is then built once for all tenants and tokens that differ in
        nothing.
        """
        identity = tuple(map(id, layers))
        known = self._of_layers.get(identity)
        if known is None:
            if len(self._of_layers) >= _MAX_RESOLVED:
                self._of_layers = {}
            known = self._of_layers[identity] = layers, resolve(layers)
        return known[1]

    def layers(
        self, tenant: str, team: str | None = None, member: str | None = None, client_token_id: str | None = None
    ) -> Sequence[SavedPreferences]:
        """Return what is saved in these scopes, the broadest first."""
        scopes = self._by_tenant.get(tenant, {})
        platform = self._by_tenant.get(PLATFORM_TENANT, {})
        return select_layers({**platform, **scopes}, tenant, team, member, client_token_id)


def select_layers(
    saved: Mapping[ScopeKey, SavedPreferences],
    tenant: str,
    team: str | None = None,
    member: str | None = None,
    client_token_id: str | None = None,
) -> Sequence[SavedPreferences]:
    """Return those of the saved scopes that apply to a request, the broadest first."""
    wanted = (
        (PreferenceScope.PLATFORM, PLATFORM_TENANT),
        (PreferenceScope.TENANT, tenant),
        (PreferenceScope.TEAM, team),
        (PreferenceScope.MEMBER, member),
        (PreferenceScope.CLIENT_TOKEN, client_token_id),
    )
    return [found for scope, name in wanted if name is not None and (found := saved.get((scope, name))) is not None]
