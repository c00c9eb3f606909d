"""Health of targets, published by the health monitor and used by the router. Pure."""

import base64
from enum import StrEnum

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.ids import EndpointName, ProviderName, TenantId
from keyferry.contracts.text import Count, Explanation, Line, Moment


class CircuitState(StrEnum):
    """The circuit breaker's state of a target. A target without an entry is closed."""

    CLOSED = "closed"
    OPEN = "open"
    """It fails too often: no attempts until `until`, then a half-open probe."""
    COOLING = "cooling"
    """It asked to be retried later (429 or 503 with a delay): no attempts until `until`."""


class Target(Message):
    """The unit of a circuit: one model at one provider, or at a tenant's own endpoint."""

    provider: ProviderName
    model: Line
    tenant: TenantId | None = None
    """The owner of the endpoint; null for providers that tenants share."""
    endpoint: EndpointName | None = None

    @property
    def key(self) -> str:
        """The key in the view. Model names are encoded, since they may contain characters that subjects may not."""
        model = base64.b32hexencode(self.model.encode()).decode().rstrip("=").lower()
        return f"{self.provider}.{self.tenant or '-'}.{self.endpoint or '-'}.{model}"


class Health(Message):
    """The health of one target as of `changed_at`."""

    target: Target
    state: CircuitState
    reason: Explanation
    """What was observed, in plain text."""
    failure_class: FailureClass | None = None
    """The failure that caused the last change of state; null if the circuit is closed."""
    until: Moment | None = None
    """When attempts may resume; null if they may now."""
    changed_at: Moment
    samples: Count = 0
    """Number of attempts in the window of these figures."""
    failures: Count = 0
    p50_ms: Count | None = None
    p95_ms: Count | None = None


class ListHealth(Command):
    """Request the health of the targets that a tenant can reach."""

    tenant: TenantId


class HealthList(Message):
    """Targets with recent attempts."""

    targets: list[Health]
