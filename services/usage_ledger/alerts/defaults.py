"""The alert rules that every tenant has without writing them, and those of the platform.

They are stored only once somebody changes one, and can be switched off. Pure.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from keyferry.contracts.alert_metrics import AlertMetric
from keyferry.contracts.alert_rules import AlertCondition, AlertRule, AlertSeverity
from keyferry.contracts.tenancy import PLATFORM_TENANT

DEFAULT_PREFIX = "alr_default_"
_CREDITS_EMPTY = f"{DEFAULT_PREFIX}credit_empty"
"""So little is less than what one attempt may set aside: requests that need credits are refused."""
_ROW = tuple[AlertMetric, str, AlertSeverity, str | None]
_OF_TENANTS: tuple[_ROW, ...] = (
    (AlertMetric.CREDIT_BALANCE, "Credits are low", AlertSeverity.WARNING, None),
    (AlertMetric.CREDIT_BALANCE, "Credits are used up", AlertSeverity.CRITICAL, "50"),
    (AlertMetric.ALLOWANCE_USED_PERCENT, "Free requests are nearly used", AlertSeverity.WARNING, "90"),
    (AlertMetric.BUDGET_USED_PERCENT, "A budget is nearly used", AlertSeverity.WARNING, None),
    (AlertMetric.KEY_INVALID, "A provider key does not work", AlertSeverity.CRITICAL, None),
    (AlertMetric.KEY_EXPIRES_DAYS, "A provider key expires soon", AlertSeverity.WARNING, "7"),
    (AlertMetric.PROVIDER_OUTAGE, "A provider has an outage", AlertSeverity.WARNING, None),
    (AlertMetric.RECONCILIATION_DIFFERENCE, "Figures differ from the provider's", AlertSeverity.WARNING, None),
    (AlertMetric.TOP_UP_FAILING, "The automatic top-up fails", AlertSeverity.CRITICAL, None),
    (AlertMetric.PAYMENT_DISPUTED, "A payment is disputed", AlertSeverity.WARNING, None),
    (AlertMetric.CHANNEL_FAILING, "Notifications are not delivered", AlertSeverity.WARNING, None),
    (AlertMetric.WEBHOOK_ENDPOINT_FAILING, "A webhook endpoint fails", AlertSeverity.WARNING, None),
)
_OF_PLATFORM: tuple[_ROW, ...] = (
    (AlertMetric.KEY_INVALID, "A platform key does not work", AlertSeverity.CRITICAL, None),
    (AlertMetric.KEY_EXPIRES_DAYS, "A platform key expires soon", AlertSeverity.WARNING, "7"),
    (AlertMetric.PROVIDER_OUTAGE, "A provider has an outage", AlertSeverity.WARNING, None),
    (AlertMetric.STRIPE_WEBHOOK_FAILING, "Webhooks of Stripe fail", AlertSeverity.CRITICAL, None),
    (AlertMetric.STRIPE_RECONCILIATION, "Stripe and the ledger differ", AlertSeverity.CRITICAL, None),
    (AlertMetric.LAGO_BACKLOG, "Usage waits for Lago", AlertSeverity.WARNING, None),
    (AlertMetric.RECONCILIATION_DIFFERENCE, "Figures differ from the provider's", AlertSeverity.WARNING, None),
    (AlertMetric.TOP_UP_FAILING, "Automatic top-ups fail", AlertSeverity.WARNING, None),
    (AlertMetric.PAYMENT_DISPUTED, "A payment is disputed", AlertSeverity.WARNING, None),
    (AlertMetric.CHANNEL_FAILING, "Notifications are not delivered", AlertSeverity.CRITICAL, None),
    (AlertMetric.WEBHOOK_ENDPOINT_FAILING, "A webhook endpoint fails", AlertSeverity.INFO, None),
)


@lru_cache(maxsize=4096)
def default_rules(tenant: str) -> Sequence[AlertRule]:
    """Return the rules of a tenant, or of the platform, as they are until somebody changes them."""
    rows = _OF_PLATFORM if tenant == PLATFORM_TENANT else _OF_TENANTS
    return tuple(
        AlertRule(
            tenant=tenant,
            rule_id=_rule_id(metric, threshold),
            revision=0,
            name=name,
            metric=metric,
            condition=AlertCondition(threshold=None if threshold is None else Decimal(threshold)),
            severity=severity,
        )
        for metric, name, severity, threshold in rows
    )


def default_rule(tenant: str, rule_id: str) -> AlertRule | None:
    """Return the default rule of this id; None if there is none."""
    return next((rule for rule in default_rules(tenant) if rule.rule_id == rule_id), None)


def _rule_id(metric: AlertMetric, threshold: str | None) -> str:
    if metric is AlertMetric.CREDIT_BALANCE and threshold is not None:
        return _CREDITS_EMPTY
    return f"{DEFAULT_PREFIX}{metric.value}"
