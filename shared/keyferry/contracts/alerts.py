"""Alerts: what a rule has found, who has seen it, and whether it is over.

An alert is fired, perhaps acknowledged, and resolved. A rule has at most one that is not resolved for each subject. Pure.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from keyferry.contracts.alert_metrics import AlertMetric, AlertUnit
from keyferry.contracts.alert_rules import AlertId, AlertRuleId, AlertSeverity, AlertSubject, AlertValue
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.text import Count, Explanation, Line, Moment, Ordinal


class AlertState(StrEnum):
    """The state of an alert."""

    FIRED = "fired"
    ACKNOWLEDGED = "acknowledged"
    """Somebody has seen it; it stays open until it is resolved."""
    RESOLVED = "resolved"


class AlertStep(Message):
    """A change of an alert's state."""

    sequence: Ordinal
    """Of its rule."""
    state: AlertState
    at: Moment
    actor: Actor | None = None
    """Who acknowledged it; null for what the ledger found."""
    value: AlertValue | None = None


class Alert(Message):
    """An alert and its history."""

    alert_id: AlertId
    tenant: TenantId
    rule_id: AlertRuleId
    rule_name: Line
    metric: Line
    subject: AlertSubject
    severity: AlertSeverity
    state: AlertState
    title: Line
    text: Explanation
    value: AlertValue | None = None
    """The figure when it fired."""
    threshold: AlertValue | None = None
    unit: AlertUnit = AlertUnit.NONE
    fired_at: Moment
    acknowledged_at: Moment | None = None
    acknowledged_by: Actor | None = None
    resolved_at: Moment | None = None
    key_disabled: bool | None = None
    """Whether the key was disabled, if the rule says so; null if it does not."""
    steps: list[AlertStep] = Field(default_factory=list)


class ListAlerts(Command):
    """Request the alerts of a tenant, newest first."""

    tenant: TenantId
    state: Literal["open", "fired", "acknowledged", "resolved"] | None = None
    """`open` for those that are not resolved; null for all."""
    rule_id: AlertRuleId | None = None
    metric: AlertMetric | None = None
    alert_id: AlertId | None = None
    """Only this one."""
    after: AlertId | None = None
    """Only alerts older than this one: `next` of the page before."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class Alerts(Message):
    """A page of alerts."""

    tenant: TenantId
    alerts: list[Alert]
    open: Count
    """How many are not resolved, of all."""
    next: AlertId | None = None
    """Where the next page begins; null at the end."""


class AcknowledgeAlert(Command):
    """Say that somebody has seen an alert. One that is acknowledged or resolved stays as it is."""

    tenant: TenantId
    alert_id: AlertId
    actor: Actor = "operator"
