"""Routes for credits: what a tenant has, what happened to it, and what an operator changes."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.credit_management import (
    AdjustCredits,
    CreditBalance,
    CreditHistory,
    CreditsChanged,
    GetCredits,
    GrantCredits,
    ListCreditHistory,
    SetCreditThreshold,
)
from keyferry.contracts.ledger_management import (
    CREDIT_ADJUST,
    CREDIT_GET,
    CREDIT_GRANT,
    CREDIT_HISTORY,
    CREDIT_THRESHOLD,
)
from services.console.access import RouteSpec
from services.console.credit_bodies import AdjustmentBody, CreditHistoryQuery, CreditThresholdBody, GrantBody
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant


class CreditRoutes:
    """The routes under `/credits`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/credits", "get_credits", self.get),
            RouteSpec("GET", "/credits/history", "list_credit_history", self.list_history),
            RouteSpec("POST", "/credits/grants", "grant_credits", self.grant, status=201),
            RouteSpec("POST", "/credits/adjustments", "adjust_credits", self.adjust, status=201),
            RouteSpec("PUT", "/credits/threshold", "set_credit_threshold", self.set_threshold),
        )

    async def get(self, context: CurrentTenant) -> CreditBalance:
        """Return what a tenant has in credits, of which a thousand are a dollar, and for about how many days it lasts."""
        return await self._services.read(CREDIT_GET, GetCredits(tenant=context.tenant))

    async def list_history(
        self, context: CurrentTenant, query: Annotated[CreditHistoryQuery, Query()]
    ) -> CreditHistory:
        """List what happened to a tenant's credits, newest first, with the balance after each entry."""
        command = ListCreditHistory(tenant=context.tenant, after=query.after, limit=query.limit)
        return await self._services.read(CREDIT_HISTORY, command)

    async def grant(self, context: CurrentTenant, body: GrantBody) -> CreditsChanged:
        """Give a tenant credits. Repeating it with the same idempotency key has no effect."""
        command = GrantCredits(tenant=context.tenant, actor=context.actor, **body.model_dump())
        return await self._services.change(CREDIT_GRANT, command)

    async def adjust(self, context: CurrentTenant, body: AdjustmentBody) -> CreditsChanged:
        """Correct a tenant's credits up or down, never below zero. Repeating it with the same idempotency key has no effect."""
        command = AdjustCredits(tenant=context.tenant, actor=context.actor, **body.model_dump())
        return await self._services.change(CREDIT_ADJUST, command)

    async def set_threshold(self, context: CurrentTenant, body: CreditThresholdBody) -> CreditBalance:
        """Choose at or below which balance a tenant's credits count as low; null for the default."""
        command = SetCreditThreshold(tenant=context.tenant, actor=context.actor, credits=body.credits)
        return await self._services.change(CREDIT_THRESHOLD, command)
