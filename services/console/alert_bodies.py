"""Request bodies, queries and answers about alerts. Pure."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Strict, StrictBool

from keyferry.contracts.alert_metrics import METRICS, AlertMetric, AlertUnit, AlertWindow, Comparison, ScopeField
from keyferry.contracts.alert_rules import (
    DEFAULT_COOLDOWN_SECONDS,
    DEFAULT_LEAST_ATTEMPTS,
    DEFAULT_MARGIN_PERCENT,
    MAX_COOLDOWN_SECONDS,
    PREVIEW_DAYS,
    AlertChannelIds,
    AlertCondition,
    AlertId,
    AlertPercent,
    AlertRuleId,
    AlertRuleName,
    AlertScope,
    AlertSeverity,
)
from keyferry.contracts.text import BIGINT_MAX
from services.console.bodies import IN_DIGITS, Body, QueryParameters
from services.console.views import View


class NewAlertRuleBody(Body):
    """All terms of an alert rule. `GET /alerts/metrics` says what each metric takes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Research spends too much",
                    "metric": "spend",
                    "scope": {"team": "research"},
                    "condition": {"threshold": "250"},
                    "window": "month",
                    "severity": "warning",
                }
            ]
        }
    )

    name: AlertRuleName
    metric: AlertMetric
    scope: AlertScope = AlertScope()
    """The part of the usage, keys or budgets that it is about."""
    condition: AlertCondition = AlertCondition()
    window: AlertWindow | None = None
    """The time that the figure is of, in the tenant's zone; null for a metric without windows."""
    least_attempts: Annotated[int, Strict(), Field(ge=1, le=10**9)] = DEFAULT_LEAST_ATTEMPTS
    """A share of failures, a latency or an unusual hour of fewer says nothing."""
    severity: AlertSeverity = AlertSeverity.WARNING
    channels: AlertChannelIds | None = None
    """Null for the tenant's usual channels; empty for none."""
    enabled: StrictBool = True
    cooldown_seconds: Annotated[int, Strict(), Field(ge=0, le=MAX_COOLDOWN_SECONDS)] = DEFAULT_COOLDOWN_SECONDS
    """So much later than it was resolved, an alert about the same may fire again."""
    margin_percent: AlertPercent = DEFAULT_MARGIN_PERCENT
    """By so many percent of the threshold the figure has to be back for an alert to be resolved."""
    disable_key: StrictBool = False
    """Whether the key is disabled of which the use is unusual."""

    def terms(self) -> dict[str, object]:
        """Return the terms as commands have them."""
        return self.model_dump(exclude={"revision", "days"})


class AlertRuleBody(NewAlertRuleBody):
    """All terms of a rule that replace those that are saved; its metric stays as it is."""

    revision: Annotated[int, Strict(), Field(ge=0, le=BIGINT_MAX)] | None = None
    """The revision that these replace, as it was read. Null replaces whatever is there."""


class AlertPreviewBody(NewAlertRuleBody):
    """The terms of a rule to try on what is recorded."""

    days: Annotated[int, Strict(), Field(ge=1, le=PREVIEW_DAYS)] = PREVIEW_DAYS


class AlertQuery(QueryParameters):
    """Which alerts to return: `after` is the `next` of the page before."""

    state: Literal["open", "fired", "acknowledged", "resolved"] | None = None
    """`open` for those that are not resolved."""
    rule_id: AlertRuleId | None = None
    metric: AlertMetric | None = None
    after: AlertId | None = None
    limit: Annotated[int, Field(ge=1, le=200), IN_DIGITS] = 50


class AlertMetricView(View):
    """What rules of one metric may say."""

    metric: AlertMetric
    unit: AlertUnit
    compared: Comparison
    """`happens` takes no threshold."""
    needs_threshold: bool
    """Whether it needs a threshold, unless `unusual` is given where that is possible."""
    may_be_unusual: bool
    windows: list[AlertWindow]
    """One of these is needed; none for a metric without windows."""
    scopes: list[ScopeField]
    of_tenants: bool
    of_platform: bool
    can_be_previewed: bool
    may_disable_key: bool


class AlertMetricsView(View):
    """Every metric."""

    metrics: list[AlertMetricView]


def metrics_view() -> AlertMetricsView:
    """Return what forms need to know about each metric."""
    return AlertMetricsView(
        metrics=[
            AlertMetricView(
                metric=metric,
                unit=terms.unit,
                compared=terms.compared,
                needs_threshold=terms.compared is not Comparison.HAPPENS and not terms.threshold_is_optional,
                may_be_unusual=terms.may_be_unusual,
                windows=list(terms.windows),
                scopes=sorted(terms.scopes),
                of_tenants=not terms.of_platform_only,
                of_platform=terms.of_platform,
                can_be_previewed=terms.can_be_previewed,
                may_disable_key=metric in KEY_USE_METRICS,
            )
            for metric, terms in METRICS.items()
        ]
    )


KEY_USE_METRICS = (AlertMetric.KEY_BURST, AlertMetric.KEY_NEW_MODEL, AlertMetric.KEY_NEW_CLIENT_TOKEN)
