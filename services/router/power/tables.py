"""Keeps the table of each tenant until something that it was built from changes. Pure."""

from dataclasses import dataclass
from datetime import datetime

from services.router.planning.context import RouteRequest, RoutingContext
from services.router.power.building import build_table
from services.router.power.quality import QualityTable
from services.router.power.ratings import LearnedQuality
from services.router.power.table import PowerTable

_MAX_TABLES = 2000
"""A table has about 20 kB. With more tenants at once, all tables are forgotten and built again where they are needed."""

_Key = tuple[str, str | None, str | None, int]


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

    def of(
        self, request: RouteRequest, context: RoutingContext, learned: LearnedQuality, prices_version: int = 0
    ) -> PowerTable:
        """Return the table for a request's tenant and preferences. `prices_version` is another one when prices change."""
        preferences = context.preferences(request)
        mode = preferences.mode_of(request.operation)
        key = (request.tenant, request.prefer_own_keys, mode, id(preferences))
        sources = (
            context.tenant,
            context.endpoints or None,
            context.own_keys,
            context.platform_keys,
            context.catalog,
            preferences,
            learned,
        )
        kept = self._kept.get(key)
        if kept is not None and kept.is_current(sources, prices_version, context.now):
            return kept.table
        if len(self._kept) >= _MAX_TABLES:
            self._kept = {}
        table = build_table(request, context, self.quality, learned)
        self._kept[key] = _Kept(table, sources, prices_version)
        return table
