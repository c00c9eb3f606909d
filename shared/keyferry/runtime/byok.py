"""The settings of the services that decide whether tenants' own provider keys are used: the vault and the routers."""

from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from keyferry.contracts.ids import TenantId
from keyferry.runtime.process.settings import ServiceSettings
from keyferry.tiers.byok import ByokSwitch


def _tenants(value: object) -> object:
    if not isinstance(value, str):
        return value
    return frozenset(part.strip() for part in value.split(",") if part.strip())


TenantSet = Annotated[frozenset[TenantId], NoDecode, BeforeValidator(_tenants)]


class ByokSettings(ServiceSettings):
    """The switch of tenants' own provider keys. It has the same values at the vault and at every router."""

    byok_enabled: bool = True
    """Whether tenants may have provider keys of their own."""
    byok_tenants: TenantSet = frozenset()
    """Which tenants may; empty for all."""

    def byok(self) -> ByokSwitch:
        """Return whether tenants may use keys of their own."""
        return ByokSwitch(self.byok_enabled, self.byok_tenants or None)
