"""What the ledger publishes about alerts, and what other services report to it. Pure."""

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from keyferry.contracts.alert_metrics import METRICS, AlertMetric, AlertUnit, MetricKind
from keyferry.contracts.alert_rules import (
    AlertChannelIds,
    AlertId,
    AlertRuleId,
    AlertScope,
    AlertSeverity,
    AlertSubject,
    AlertValue,
)
from keyferry.contracts.alerts import AlertState
from keyferry.contracts.envelope import Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.text import Explanation, Line, Moment, Ordinal


class AlertChanged(Message):
    """An alert has fired, was acknowledged or is resolved. It has all that a notification needs."""

    tenant: TenantId
    """`platform` for what is the operators' business."""
    rule_id: AlertRuleId
    """With the tenant, the rule: those that every tenant has are called alike."""
    rule_name: Line
    alert_id: AlertId
    sequence: Ordinal
    """Of this tenant's rule, from 1 without gaps. Several changes may be published twice, never out of this order for long."""
    state: AlertState
    severity: AlertSeverity
    metric: Line
    scope: AlertScope = AlertScope()
    subject: AlertSubject
    value: AlertValue | None = None
    """The figure at this change."""
    threshold: AlertValue | None = None
    unit: AlertUnit = AlertUnit.NONE
    since: Moment
    """When the alert fired."""
    at: Moment
    """When this change was found."""
    actor: Actor | None = None
    """Who acknowledged it."""
    channels: AlertChannelIds | None = None
    """Null for the tenant's usual channels; empty for none."""
    title: Line
    text: Explanation

    @property
    def message_id(self) -> str:
        """The id of this change, the same however often it is published."""
        return f"{self.tenant}.{self.rule_id}.{self.sequence}"


def _require_reported(metric: AlertMetric) -> AlertMetric:
    if METRICS[metric].kind is not MetricKind.REPORTED:
        raise PydanticCustomError("metric", "the ledger finds this by itself: only what other services see is reported")
    return metric


class ReportAlert(Message):
    """Say that something is so, or is no longer so, of which the ledger has no figures. To repeat it has no effect."""

    tenant: TenantId
    """`platform` for what is the operators' business."""
    metric: Annotated[AlertMetric, AfterValidator(_require_reported)]
    subject: AlertSubject = ""
    """What it is about, such as the id of an endpoint; each subject has an alert of its own."""
    raised: bool
    """Whether it is so. False resolves the alert, if there is one."""
    text: Explanation
    """What happened and what to do, for people."""


class AlertReported(Message):
    """The report is recorded; the alert follows within seconds if a rule asks for it."""

    changed: bool
    """Whether it was not known."""
