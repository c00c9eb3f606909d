"""Request and response bodies about health. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue, Strict, StrictBool

from keyferry.contracts.health import (
    MAX_FORCED_SECONDS,
    ChosenProvider,
    ForcedState,
    Health,
    Override,
    Reason,
)
from keyferry.contracts.ids import EndpointName, TenantId
from keyferry.contracts.text import Refusing, RequestedModel
from services.console.bodies import IN_DIGITS, Body, GivenMoment, Paging, QueryParameters
from services.console.views import View

_EXAMPLE: dict[str, JsonValue] = {"provider": "openai", "model": "gpt-4o"}


class ReleaseBody(Body):
    """The override to end: exactly what it was set for."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    provider: ChosenProvider
    """`custom` for a tenant's endpoint."""
    model: RequestedModel | None = None
    """As the provider names it; null for all of its models."""
    tenant: TenantId | None = None
    """With `endpoint`: its owner."""
    endpoint: EndpointName | None = None
    """Only this endpoint."""


class ForceBody(ReleaseBody):
    """Circuits to force open or closed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{**_EXAMPLE, "state": "open", "for_seconds": 600, "reason": "wrong answers since 12:10"}]
        }
    )

    state: ForcedState
    """`open` keeps requests away; `closed` sends them although attempts fail."""
    for_seconds: Annotated[int, Strict(), Field(ge=1, le=MAX_FORCED_SECONDS)]
    """At most seven days."""
    reason: Reason
    """For the audit log, and for whom the requests are."""
    unseen: StrictBool = False
    """Whether to accept a provider or a model that no attempt has called within the last day."""


class HealthQuery(Paging):
    """Which targets to return, and which part of them."""

    provider: ChosenProvider | None = None
    """Only of this provider; `custom` for endpoints."""
    after: Annotated[str, Refusing(1000)] | None = None


class OutageQuery(QueryParameters):
    """The span of time, and how many outages to return at most."""

    since: GivenMoment | None = None
    """Inclusive; UTC without a zone. Null for a week before `until`."""
    until: GivenMoment | None = None
    """Exclusive; UTC without a zone. Null for now."""
    limit: Annotated[int, Field(ge=1, le=200), IN_DIGITS] = 50


class TargetHealth(Health):
    """The health of one model at one address, as one class of keys calls it."""

    success_percent: float | None = None
    """Share of the attempts within the last five minutes that succeeded; null if there were none."""

    @classmethod
    def of(cls, health: Health) -> "TargetHealth":
        """Return `health` with its success rate."""
        rate = round(100 * (1 - health.failures / health.samples), 2) if health.samples else None
        return cls(**dict(health), success_percent=rate)


class HealthPage(View):
    """Targets that were called or probed within the last day, and the overrides that hold. `next` is null on the last page."""

    data: list[TargetHealth]
    overrides: list[Override]
    next: str | None
