"""Routes for reporting to Lago, which only an operator may call."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.ids import TenantId
from keyferry.contracts.lago import (
    BackfillLago,
    GetLagoStatus,
    LagoBackfill,
    LagoCustomer,
    LagoCustomers,
    LagoStatus,
    ListLagoCustomers,
    ListParkedLagoEvents,
    ParkedLagoEvents,
    ReplayedLagoEvents,
    ReplayLagoEvents,
    SaveLagoCustomer,
)
from keyferry.contracts.lago_management import (
    LAGO_BACKFILL,
    LAGO_CUSTOMER_LIST,
    LAGO_CUSTOMER_SAVE,
    LAGO_EVENT_LIST,
    LAGO_EVENT_REPLAY,
    LAGO_STATUS,
)
from services.console.access import RouteSpec
from services.console.reconciliation_bodies import (
    LagoBackfillBody,
    LagoCustomerBody,
    LagoCustomerQuery,
    LagoEventQuery,
    LagoReplayBody,
)
from services.console.service_client import RECONCILE_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant


class LagoRoutes:
    """The routes under `/ops/billing/lago`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/billing/lago", "get_lago_status", self.status),
            RouteSpec("GET", "/billing/lago/customers", "list_lago_customers", self.list_customers),
            RouteSpec("PUT", "/billing/lago/customers/{tenant}", "save_lago_customer", self.save_customer),
            RouteSpec("GET", "/billing/lago/events", "list_parked_lago_events", self.list_parked),
            RouteSpec("POST", "/billing/lago/events/replay", "replay_lago_events", self.replay),
            RouteSpec("POST", "/billing/lago/backfill", "backfill_lago", self.backfill),
        )

    async def status(self, context: CurrentTenant) -> LagoStatus:
        """Return how reporting to Lago is going, what waits, and what Lago refuses."""
        return await self._services.read(LAGO_STATUS, GetLagoStatus())

    async def list_customers(
        self, context: CurrentTenant, query: Annotated[LagoCustomerQuery, Query()]
    ) -> LagoCustomers:
        """List which tenant is which customer in Lago, in the order of tenants."""
        return await self._services.read(LAGO_CUSTOMER_LIST, ListLagoCustomers(**query.model_dump()))

    async def save_customer(self, context: CurrentTenant, tenant: TenantId, body: LagoCustomerBody) -> LagoCustomer:
        """Choose which customer a tenant is in Lago, or that nothing of it is sent there."""
        await self._services.require_tenant(tenant)
        command = SaveLagoCustomer(tenant=tenant, actor=context.actor, **body.model_dump())
        return await self._services.change(LAGO_CUSTOMER_SAVE, command)

    async def list_parked(self, context: CurrentTenant, query: Annotated[LagoEventQuery, Query()]) -> ParkedLagoEvents:
        """List events that Lago refuses, oldest first, with the reasons."""
        return await self._services.read(LAGO_EVENT_LIST, ListParkedLagoEvents(**query.model_dump()))

    async def replay(self, context: CurrentTenant, body: LagoReplayBody) -> ReplayedLagoEvents:
        """Report events again that Lago has refused; what it refuses again stays, with its new reason."""
        command = ReplayLagoEvents(**body.model_dump(), actor=context.actor)
        return await self._services.change(LAGO_EVENT_REPLAY, command, timeout_seconds=RECONCILE_SECONDS)

    async def backfill(self, context: CurrentTenant, body: LagoBackfillBody) -> LagoBackfill:
        """Report a tenant's attempts of some days from the ledger, as after an outage that was longer than the stream's week.

        Lago counts nothing twice: it knows an attempt by its id.
        """
        await self._services.require_tenant(body.tenant)
        command = BackfillLago(**body.model_dump(), actor=context.actor)
        return await self._services.change(LAGO_BACKFILL, command, timeout_seconds=RECONCILE_SECONDS)
