"""Routes for comparisons of a tenant's usage with providers' own figures."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.ids import ProviderName
from keyferry.contracts.reconciliation import (
    GetReconciliation,
    ListReconciliations,
    ListReconciliationSchedules,
    Reconciliation,
    ReconciliationId,
    Reconciliations,
    ReconciliationSchedule,
    ReconciliationSchedules,
    RemoveReconciliationSchedule,
    RunReconciliation,
    SaveReconciliationSchedule,
)
from keyferry.contracts.reconciliation_management import (
    RECONCILIATION_GET,
    RECONCILIATION_LIST,
    RECONCILIATION_RUN,
    RECONCILIATION_SCHEDULE_LIST,
    RECONCILIATION_SCHEDULE_REMOVE,
    RECONCILIATION_SCHEDULE_SAVE,
)
from services.console.access import RouteSpec
from services.console.reconciliation_bodies import (
    ReconciliationBody,
    ReconciliationQuery,
    ReconciliationScheduleBody,
)
from services.console.service_client import RECONCILE_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant


class ReconciliationRoutes:
    """The routes under `/reconciliations`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        schedule = "/reconciliations/schedules/{provider}"
        return (
            RouteSpec("GET", "/reconciliations", "list_reconciliations", self.list_),
            RouteSpec("POST", "/reconciliations", "run_reconciliation", self.run, status=201),
            RouteSpec("GET", "/reconciliations/schedules", "list_reconciliation_schedules", self.list_schedules),
            RouteSpec("PUT", schedule, "save_reconciliation_schedule", self.save_schedule),
            RouteSpec("DELETE", schedule, "remove_reconciliation_schedule", self.remove_schedule),
            RouteSpec("GET", "/reconciliations/{reconciliation_id}", "get_reconciliation", self.get),
        )

    async def list_(self, context: CurrentTenant, query: Annotated[ReconciliationQuery, Query()]) -> Reconciliations:
        """List a tenant's comparisons with providers, newest first, without their rows."""
        command = ListReconciliations(tenant=context.tenant, **query.model_dump())
        return await self._services.read(RECONCILIATION_LIST, command)

    async def run(self, context: CurrentTenant, body: ReconciliationBody) -> Reconciliation:
        """Compare days of usage with what the provider says, and keep the report.

        OpenAI, Anthropic and OpenRouter are asked with the tenant's admin key. For others, or without a key, paste a CSV or the
        total of an invoice. Days are from midnight to midnight UTC, as providers count them.
        """
        command = RunReconciliation(tenant=context.tenant, actor=context.actor, **body.model_dump())
        return await self._services.change(RECONCILIATION_RUN, command, timeout_seconds=RECONCILE_SECONDS)

    async def get(self, context: CurrentTenant, reconciliation_id: ReconciliationId) -> Reconciliation:
        """Return one comparison with its rows: by day and model, with what may explain each difference."""
        command = GetReconciliation(tenant=context.tenant, reconciliation_id=reconciliation_id)
        return await self._services.read(RECONCILIATION_GET, command)

    async def list_schedules(self, context: CurrentTenant) -> ReconciliationSchedules:
        """List the providers that each month is compared with, and those that can be."""
        command = ListReconciliationSchedules(tenant=context.tenant)
        return await self._services.read(RECONCILIATION_SCHEDULE_LIST, command)

    async def save_schedule(
        self, context: CurrentTenant, provider: ProviderName, body: ReconciliationScheduleBody
    ) -> ReconciliationSchedule:
        """Compare each month with a provider once it has ended; an alert is raised above both tolerances."""
        command = SaveReconciliationSchedule(
            tenant=context.tenant, provider=provider, actor=context.actor, **body.model_dump()
        )
        return await self._services.change(RECONCILIATION_SCHEDULE_SAVE, command)

    async def remove_schedule(self, context: CurrentTenant, provider: ProviderName) -> ReconciliationSchedule:
        """End the monthly comparison with a provider; reports stay."""
        command = RemoveReconciliationSchedule(tenant=context.tenant, provider=provider, actor=context.actor)
        return await self._services.change(RECONCILIATION_SCHEDULE_REMOVE, command)
