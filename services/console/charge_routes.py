"""Routes for free requests, and for the margin and re-ratings of the whole installation."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Query

from keyferry.contracts.charges import (
    AllowanceState,
    GetAllowance,
    GetMargin,
    Margin,
    RerateAttempts,
    Rerating,
)
from keyferry.contracts.ledger_management import ALLOWANCE_GET, ATTEMPTS_RERATE, MARGIN_GET
from services.console.access import RouteSpec
from services.console.charge_bodies import MarginQuery, RerateBody
from services.console.service_client import SUMMARY_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant

_RERATE_SECONDS = 600.0
_DEFAULT_SPAN = timedelta(days=30)


class ChargeRoutes:
    """The routes `/allowance`, `/ops/ledger/margin` and `/ops/ledger/rerate`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about one tenant."""
        return (RouteSpec("GET", "/allowance", "get_allowance", self.allowance),)

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about the installation."""
        return (
            RouteSpec("GET", "/ledger/margin", "get_margin", self.margin),
            RouteSpec("POST", "/ledger/rerate", "rerate_attempts", self.rerate),
        )

    async def allowance(self, context: CurrentTenant) -> AllowanceState:
        """Return how many free requests on the platform's keys the tenant has left in this month.

        `notice` is a text once most of them are used.
        """
        return await self._services.read(ALLOWANCE_GET, GetAllowance(tenant=context.tenant))

    async def margin(self, context: CurrentTenant, query: Annotated[MarginQuery, Query()]) -> Margin:
        """Return what attempts have cost the platform and what it has earned with them, by tier and level."""
        since = query.since or datetime.now(UTC) - _DEFAULT_SPAN
        command = GetMargin(since=since, until=query.until)
        return await self._services.read(MARGIN_GET, command, timeout_seconds=SUMMARY_SECONDS)

    async def rerate(self, context: CurrentTenant, body: RerateBody) -> Rerating:
        """Correct what tenants paid for attempts of a model, by the prices and the billing plan in force now.

        Attempts never change: credits are given back or charged, and each correction is kept. What a tenant's credits cannot
        bear is borne by the platform. Repeating it with the same `rerate_id` has no further effect.
        """
        command = RerateAttempts(**body.model_dump(), actor=context.actor)
        return await self._services.change(ATTEMPTS_RERATE, command, timeout_seconds=_RERATE_SECONDS)
