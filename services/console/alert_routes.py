"""Routes for alerts and alert rules."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.alert_management import (
    ALERT_ACKNOWLEDGE,
    ALERT_LIST,
    ALERT_RULE_LIST,
    ALERT_RULE_PREVIEW,
    ALERT_RULE_REMOVE,
    ALERT_RULE_SAVE,
)
from keyferry.contracts.alert_rules import (
    AlertId,
    AlertPreview,
    AlertRuleId,
    AlertRuleRemoved,
    AlertRules,
    AlertRuleStatus,
    ListAlertRules,
    PreviewAlertRule,
    RemoveAlertRule,
    SaveAlertRule,
)
from keyferry.contracts.alerts import AcknowledgeAlert, Alert, Alerts, ListAlerts
from services.console.access import RouteSpec
from services.console.alert_bodies import (
    AlertMetricsView,
    AlertPreviewBody,
    AlertQuery,
    AlertRuleBody,
    NewAlertRuleBody,
    metrics_view,
)
from services.console.problem import not_found
from services.console.service_client import RULES_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant


class AlertRoutes:
    """The routes under `/alerts`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/alerts", "list_alerts", self.list_),
            RouteSpec("GET", "/alerts/metrics", "list_alert_metrics", self.metrics),
            RouteSpec("GET", "/alerts/rules", "list_alert_rules", self.rules),
            RouteSpec("POST", "/alerts/rules", "add_alert_rule", self.add, status=201),
            RouteSpec("POST", "/alerts/rules/preview", "preview_alert_rule", self.preview),
            RouteSpec("GET", "/alerts/rules/{rule_id}", "get_alert_rule", self.rule),
            RouteSpec("PUT", "/alerts/rules/{rule_id}", "change_alert_rule", self.change),
            RouteSpec("DELETE", "/alerts/rules/{rule_id}", "remove_alert_rule", self.remove),
            RouteSpec("GET", "/alerts/{alert_id}", "get_alert", self.get),
            RouteSpec("POST", "/alerts/{alert_id}/acknowledge", "acknowledge_alert", self.acknowledge),
        )

    async def list_(self, context: CurrentTenant, query: Annotated[AlertQuery, Query()]) -> Alerts:
        """List a tenant's alerts, newest first, each with its history; `open` counts those that are not resolved."""
        command = ListAlerts.model_validate({"tenant": context.tenant, **query.model_dump()})
        return await self._services.read(ALERT_LIST, command)

    async def metrics(self, context: CurrentTenant) -> AlertMetricsView:
        """List what alert rules can watch: the unit, the windows and the scopes of each metric."""
        return metrics_view()

    async def rules(self, context: CurrentTenant) -> AlertRules:
        """List a tenant's alert rules with their states: its own, and those that every tenant has."""
        return await self._services.read(ALERT_RULE_LIST, ListAlertRules(tenant=context.tenant))

    async def add(self, context: CurrentTenant, body: NewAlertRuleBody) -> AlertRuleStatus:
        """Add an alert rule. It is evaluated at once."""
        command = SaveAlertRule.model_validate({"tenant": context.tenant, "actor": context.actor, **body.terms()})
        return await self._services.change(ALERT_RULE_SAVE, command)

    async def preview(self, context: CurrentTenant, body: AlertPreviewBody) -> AlertPreview:
        """Return when a rule would have fired in the last days. Nothing is saved."""
        command = PreviewAlertRule.model_validate({"tenant": context.tenant, "days": body.days, **body.terms()})
        return await self._services.read(ALERT_RULE_PREVIEW, command, timeout_seconds=RULES_SECONDS)

    async def rule(self, context: CurrentTenant, rule_id: AlertRuleId) -> AlertRuleStatus:
        """Return one alert rule with its state."""
        found = await self._services.read(ALERT_RULE_LIST, ListAlertRules(tenant=context.tenant, rule_id=rule_id))
        return found.rules[0]

    async def change(self, context: CurrentTenant, rule_id: AlertRuleId, body: AlertRuleBody) -> AlertRuleStatus:
        """Replace the terms of an alert rule, but for its metric; those that every tenant has as well.

        With `revision` nothing is saved (409) if somebody else has changed it since that revision was read.
        """
        command = SaveAlertRule.model_validate(
            {
                "tenant": context.tenant,
                "actor": context.actor,
                "rule_id": rule_id,
                "expected_revision": body.revision,
                **body.terms(),
            }
        )
        return await self._services.change(ALERT_RULE_SAVE, command)

    async def remove(self, context: CurrentTenant, rule_id: AlertRuleId) -> AlertRuleRemoved:
        """Remove an alert rule, and resolve its alerts; or restore the usual terms of one that every tenant has."""
        command = RemoveAlertRule(tenant=context.tenant, rule_id=rule_id, actor=context.actor)
        return await self._services.change(ALERT_RULE_REMOVE, command)

    async def get(self, context: CurrentTenant, alert_id: AlertId) -> Alert:
        """Return one alert with its history."""
        found = await self._services.read(ALERT_LIST, ListAlerts(tenant=context.tenant, alert_id=alert_id, limit=1))
        if not found.alerts:
            raise not_found("there is no such alert")
        return found.alerts[0]

    async def acknowledge(self, context: CurrentTenant, alert_id: AlertId) -> Alert:
        """Say that somebody has seen an alert: it stays open until its cause is over."""
        command = AcknowledgeAlert(tenant=context.tenant, alert_id=alert_id, actor=context.actor)
        return await self._services.change(ALERT_ACKNOWLEDGE, command)
