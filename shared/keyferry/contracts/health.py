"""Health of targets: what the health monitor says and the router acts upon."""

import base64
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import EndpointName, TenantId


class CircuitState(StrEnum):
    """Whether a target is given work. A target without an entry is closed."""

    CLOSED = "closed"
    OPEN = "open"
    """It fails too often: no work until `until`, then a trial."""
    COOLING = "cooling"
    """It asked for patience (429 or 503 with a delay): no work until `until`."""


class Target(Message):
    """What a circuit is about: one model behind one provider, a tenant's own endpoint where there is one."""

    provider: str
    model: str
    tenant: TenantId | None = None
    """Whose endpoint it is; null for providers that tenants share."""
    endpoint: EndpointName | None = None

    @property
    def key(self) -> str:
        """The key in the view. Model names hold characters that subjects may not, so they are encoded."""
        model = base64.b32hexencode(self.model.encode()).decode().rstrip("=").lower()
        return f"{self.provider}.{self.tenant or '-'}.{self.endpoint or '-'}.{model}"


class Health(Message):
    """The health of one target as of `changed_at`."""

    target: Target
    state: CircuitState
    reason: str
    """For people: what was seen."""
    until: datetime | None = None
    """When work may be tried again; null where it may now."""
    changed_at: datetime
    samples: int = Field(default=0, ge=0)
    """Attempts in the window that the figures are about."""
    failures: int = Field(default=0, ge=0)
    p50_ms: int | None = None
    p95_ms: int | None = None


class ListHealth(Command):
    """Ask for the health of what one tenant can reach."""

    tenant: TenantId


class HealthList(Message):
    """Targets that were seen lately."""

    targets: list[Health]
