"""Saved preferences by tenant and scope, and what is in force for a request, resolved when it is first needed. Pure."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from keyferry.contracts.preferences import PreferenceScope, SavedPreferences
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.router.preferences.effective import EffectivePreferences, resolve

_MAX_RESOLVED = 100_000
"""How many combinations of tenant, team, member and token are kept resolved."""
_SCOPE_ID_BYTES = 16

ScopeKey = tuple[PreferenceScope, str]


def view_key(saved: SavedPreferences) -> str:
    """Return the key of a scope in the view: names of teams and members have characters that a subject must not have."""
    digest = blake2b(saved.scope_id.encode(), digest_size=_SCOPE_ID_BYTES).hexdigest()
    return f"{saved.tenant}.{saved.scope}.{digest}"


class PreferenceIndex:
    """All saved preferences, rebuilt whenever the view changes."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, dict[ScopeKey, SavedPreferences]] = {}
        self._resolved: dict[tuple[str, str | None, str | None, str | None], EffectivePreferences] = {}

    def rebuild(self, saved: Iterable[SavedPreferences]) -> None:
        """Replace the index by the entries of the whole view."""
        fresh: dict[str, dict[ScopeKey, SavedPreferences]] = {}
        for each in saved:
            fresh.setdefault(each.tenant, {})[each.scope, each.scope_id] = each
        self._by_tenant = fresh
        self._resolved = {}

    def of(
        self, tenant: str, team: str | None, member: str | None, client_token_id: str | None
    ) -> EffectivePreferences:
        """Return what is in force for a request of these scopes."""
        key = (tenant, team, member, client_token_id)
        found = self._resolved.get(key)
        if found is None:
            found = resolve(self.layers(*key))
            if len(self._resolved) >= _MAX_RESOLVED:
                self._resolved = {}
            self._resolved[key] = found
        return found

    def layers(
        self, tenant: str, team: str | None = None, member: str | None = None, client_token_id: str | None = None
    ) -> Sequence[SavedPreferences]:
        """Return what is saved in these scopes, the broadest first."""
        scopes = self._by_tenant.get(tenant, {})
        platform = self._by_tenant.get(PLATFORM_TENANT, {})
        return select_layers({**platform, **scopes}, tenant, team, member, client_token_id)


def select_layers(
    saved: dict[ScopeKey, SavedPreferences],
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
