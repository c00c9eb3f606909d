"""Keeps the tables of tenants until something that they were built from changes.

Tenants without own keys and endpoints, which differ in nothing that a table depends on, share one. It is built for `ANY_TENANT`,
whose name its texts have in the tenant's place. Pure.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from keyferry.contracts.preferences import RoutingMode
from keyferry.contracts.tenancy import PLATFORM_TENANT, ByokUse, KeyPolicy, Tier
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.provider_keys import ALL_OF_OWNER, breadth
from services.router.power.building import build_table
from services.router.power.quality import QualityTable
from services.router.power.ratings import NOTHING_LEARNED, LearnedQuality
from services.router.power.table import ANY_TENANT, PowerTable
from services.router.preferences.effective import EffectivePreferences

_MAX_TABLES = 5000
"""A table has about 20 kB. With more at once, all are forgotten and built again where they are needed."""


@dataclass(frozen=True, slots=True)
class _Key:
    """What distinguishes tables, besides the objects that they are built from."""

    tenant: str
    tier: Tier
    key_policy: KeyPolicy | None
    allow_unapproved: bool
    byok: ByokUse
    prefer_own_keys: str | None
    mode: RoutingMode | None
    caller: tuple[str | None, str | None] | None
    """The team and the member of the request, where a key is only for one of them."""
    preferences: int
    """The identity of the preferences, which the kept table keeps alive."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A table, and the objects that it was built from: indexes of views replace them when they change."""

    table: PowerTable
    sources: tuple[object, ...]
    prices_version: int

    def is_current(self, sources: tuple[object, ...], prices_version: int, now: datetime) -> bool:
        """Return whether the table would be built the same way again."""
        valid_until = self.table.valid_until
        return (
            self.prices_version == prices_version
            and (valid_until is None or now < valid_until)
            and all(a is b for a, b in zip(self.sources, sources, strict=True))
        )


class PowerTables:
    """The tables of all tenants. Building one takes milliseconds, a lookup some microseconds."""

    def __init__(self, quality: QualityTable) -> None:
        self.quality = quality
        self._kept: dict[_Key, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(
        self, request: RouteRequest, context: RoutingContext, learned: LearnedQuality, prices_version: int = 0
    ) -> PowerTable:
        """Return the table for a request's tenant and preferences. `prices_version` is another one when prices change.

        The context has a tenant.
        """
        tenant = context.tenant
        assert tenant is not None
        preferences = context.preferences(request)
        alone = bool(context.own_keys) or bool(context.endpoints) or tenant.tenant == PLATFORM_TENANT
        key = _Key(
            tenant.tenant if alone else ANY_TENANT,
            tenant.tier,
            tenant.key_policy,
            tenant.allow_unapproved,
            tenant.byok,
            request.prefer_own_keys,
            preferences.mode_of(request.operation),
            (request.team, request.member) if alone and _has_scopes(context) else None,
            id(preferences),
        )
        sources = (
            context.endpoints if alone else None,
            context.own_keys if alone else None,
            context.platform_keys,
            context.catalog,
            context.tiers,
            preferences,
        )
        kept = self._kept.get(key)
        if kept is None or not kept.is_current(sources, prices_version, context.now):
            if len(self._kept) >= _MAX_TABLES:
                self._kept = {}
            built_for = (request, context) if alone else _for_any_tenant(request, context, preferences)
            kept = _Kept(build_table(*built_for, self.quality), sources, prices_version)
            self._kept[key] = kept
        return kept.table if learned is NOTHING_LEARNED else replace(kept.table, learned=learned)


def _has_scopes(context: RoutingContext) -> bool:
    """Return whether one of the tenant's own keys is for a team or a member."""
    return any(breadth(key) < ALL_OF_OWNER for keys in context.own_keys.values() for key in keys)


def _for_any_tenant(
    request: RouteRequest, context: RoutingContext, preferences: EffectivePreferences
) -> tuple[RouteRequest, RoutingContext]:
    """Return request and context of a tenant that stands for all tenants alike."""
    assert context.tenant is not None
    tenant = context.tenant.model_copy(update={"tenant": ANY_TENANT, "name": ANY_TENANT})
    return (
        replace(request, tenant=ANY_TENANT),
        replace(context, tenant=tenant, preferences=lambda _: preferences),
    )
