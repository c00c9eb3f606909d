"""What alert rules can watch: each metric with its unit, its windows and scopes, and the condition that it takes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class AlertMetric(StrEnum):
    """What a rule watches."""

    SPEND = "spend"
    """What counts in budgets: the charge on the platform's keys, the provider's cost on the tenant's own."""
    REQUESTS = "requests"
    TOKENS = "tokens"
    FAILED_PERCENT = "failed_percent"
    """Of the attempts, how many failed."""
    LATENCY_P95 = "latency_p95"
    CREDIT_BALANCE = "credit_balance"
    """Without a threshold: the balance below which the tenant's credits count as low."""
    CREDIT_DAYS_LEFT = "credit_days_left"
    ALLOWANCE_USED_PERCENT = "allowance_used_percent"
    """Of the month's free requests."""
    BUDGET_USED_PERCENT = "budget_used_percent"
    """Of each budget in its window. Without a threshold: those of the budget, each with an alert of its own."""
    KEY_INVALID = "key_invalid"
    """A provider key that its provider does not accept, that has expired, or that cannot be decrypted."""
    KEY_EXPIRES_DAYS = "key_expires_days"
    KEY_AGE_DAYS = "key_age_days"
    """Since the secret in use was set."""
    KEY_BURST = "key_burst"
    """Requests with one key within an hour, where that is unusual for the hour."""
    KEY_NEW_MODEL = "key_new_model"
    """A key is used with a model with which it was not used in the 30 days before."""
    KEY_NEW_CLIENT_TOKEN = "key_new_client_token"  # noqa: S105 - the name of a metric
    """A key is used by a client token by which it was not used in the 30 days before."""
    PROVIDER_OUTAGE = "provider_outage"
    """The requests that an outage affects; of the platform, every outage."""
    STRIPE_WEBHOOK_FAILING = "stripe_webhook_failing"
    STRIPE_RECONCILIATION = "stripe_reconciliation"
    LAGO_BACKLOG = "lago_backlog"
    RECONCILIATION_DIFFERENCE = "reconciliation_difference"
    """A provider's own figures differ from those that are recorded."""
    TOP_UP_FAILING = "top_up_failing"
    PAYMENT_DISPUTED = "payment_disputed"
    CHANNEL_FAILING = "channel_failing"
    """Notifications cannot be delivered by a channel."""
    WEBHOOK_ENDPOINT_FAILING = "webhook_endpoint_failing"


class AlertUnit(StrEnum):
    """What the numbers of a metric count."""

    USD = "usd"
    CREDITS = "credits"
    REQUESTS = "requests"
    TOKENS = "tokens"
    PERCENT = "percent"
    MILLISECONDS = "ms"
    DAYS = "days"
    NONE = "none"
    """Nothing: it is so, or it is not."""


class AlertWindow(StrEnum):
    """The time that a figure is of. Calendar windows begin where they do in the tenant's time zone, weeks on Mondays.

    The others end with the current quarter hour of UTC, of which the rest is still to come.
    """

    MONTH = "month"
    WEEK = "week"
    DAY = "day"
    HOUR = "hour"
    LAST_QUARTER_HOUR = "last_15m"
    """The current quarter hour and the one before."""
    LAST_HOUR = "last_60m"
    """The current quarter hour and the four before."""
    LAST_DAY = "last_24h"
    """The current quarter hour and the 96 before."""


CALENDAR_WINDOWS = (AlertWindow.MONTH, AlertWindow.WEEK, AlertWindow.DAY, AlertWindow.HOUR)
ROLLING_WINDOWS = (AlertWindow.LAST_QUARTER_HOUR, AlertWindow.LAST_HOUR, AlertWindow.LAST_DAY)


class MetricKind(StrEnum):
    """Where the figures of a metric come from."""

    USAGE = "usage"
    CREDITS = "credits"
    BUDGETS = "budgets"
    KEYS = "keys"
    KEY_USE = "key_use"
    OUTAGES = "outages"
    REPORTED = "reported"
    """Another service says so (`alert.report`)."""


class Comparison(StrEnum):
    """When a condition with a threshold holds."""

    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    HAPPENS = "happens"
    """There is no threshold."""


class ScopeField(StrEnum):
    """By what a rule can be limited to a part of its tenant's usage, keys or budgets."""

    PROVIDER = "provider"
    MODEL = "model"
    OPERATION = "operation"
    TEAM = "team"
    MEMBER = "member"
    CLIENT_TOKEN = "client_token"  # noqa: S105 - the name of a field
    KEY = "key"
    KEY_SOURCE = "key_source"
    TAG = "tag"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTerms:
    """What rules of one metric may say."""

    kind: MetricKind
    unit: AlertUnit = AlertUnit.NONE
    compared: Comparison = Comparison.HAPPENS
    windows: tuple[AlertWindow, ...] = ()
    """Those that it may have, of which it needs one; none for what is so at a moment."""
    scopes: frozenset[ScopeField] = frozenset()
    may_be_unusual: bool = False
    threshold_is_optional: bool = False
    of_platform: bool = False
    """Whether the platform itself can have it; tenants have all but those that only the platform has."""
    of_platform_only: bool = False
    can_be_previewed: bool = False
    """Whether what is recorded says when a rule would have fired."""


_USAGE_SCOPES = frozenset(ScopeField) - {ScopeField.BUDGET}
_KEY = frozenset({ScopeField.KEY, ScopeField.PROVIDER})


def _usage(
    unit: AlertUnit,
    windows: tuple[AlertWindow, ...],
    scopes: frozenset[ScopeField] = _USAGE_SCOPES,
    *,
    sums: bool = True,
) -> MetricTerms:
    return MetricTerms(
        kind=MetricKind.USAGE,
        unit=unit,
        compared=Comparison.AT_LEAST,
        windows=windows,
        scopes=scopes,
        may_be_unusual=sums,
        can_be_previewed=True,
    )


def _credits(unit: AlertUnit, compared: Comparison, *, optional: bool = False, preview: bool = False) -> MetricTerms:
    return MetricTerms(
        kind=MetricKind.CREDITS,
        unit=unit,
        compared=compared,
        threshold_is_optional=optional,
        can_be_previewed=preview,
    )


def _reported(*, platform_only: bool = False) -> MetricTerms:
    return MetricTerms(kind=MetricKind.REPORTED, of_platform=True, of_platform_only=platform_only)


_SUM_WINDOWS = (*CALENDAR_WINDOWS, *ROLLING_WINDOWS)
_KEY_USE = MetricTerms(kind=MetricKind.KEY_USE, scopes=_KEY, can_be_previewed=True)

METRICS: Mapping[AlertMetric, MetricTerms] = MappingProxyType(
    {
        AlertMetric.SPEND: _usage(AlertUnit.USD, _SUM_WINDOWS),
        AlertMetric.REQUESTS: _usage(AlertUnit.REQUESTS, _SUM_WINDOWS),
        AlertMetric.TOKENS: _usage(AlertUnit.TOKENS, _SUM_WINDOWS),
        AlertMetric.FAILED_PERCENT: _usage(AlertUnit.PERCENT, ROLLING_WINDOWS, sums=False),
        AlertMetric.LATENCY_P95: _usage(
            AlertUnit.MILLISECONDS, ROLLING_WINDOWS, _USAGE_SCOPES - {ScopeField.TAG}, sums=False
        ),
        AlertMetric.CREDIT_BALANCE: _credits(AlertUnit.CREDITS, Comparison.AT_MOST, optional=True, preview=True),
        AlertMetric.CREDIT_DAYS_LEFT: _credits(AlertUnit.DAYS, Comparison.AT_MOST),
        AlertMetric.ALLOWANCE_USED_PERCENT: _credits(AlertUnit.PERCENT, Comparison.AT_LEAST),
        AlertMetric.BUDGET_USED_PERCENT: MetricTerms(
            kind=MetricKind.BUDGETS,
            unit=AlertUnit.PERCENT,
            compared=Comparison.AT_LEAST,
            scopes=frozenset({ScopeField.BUDGET}),
            threshold_is_optional=True,
        ),
        AlertMetric.KEY_INVALID: MetricTerms(kind=MetricKind.KEYS, scopes=_KEY, of_platform=True),
        AlertMetric.KEY_EXPIRES_DAYS: MetricTerms(
            kind=MetricKind.KEYS, unit=AlertUnit.DAYS, compared=Comparison.AT_MOST, scopes=_KEY, of_platform=True
        ),
        AlertMetric.KEY_AGE_DAYS: MetricTerms(
            kind=MetricKind.KEYS, unit=AlertUnit.DAYS, compared=Comparison.AT_LEAST, scopes=_KEY, of_platform=True
        ),
        AlertMetric.KEY_BURST: MetricTerms(
            kind=MetricKind.KEY_USE,
            unit=AlertUnit.REQUESTS,
            compared=Comparison.AT_LEAST,
            scopes=_KEY,
            may_be_unusual=True,
            can_be_previewed=True,
        ),
        AlertMetric.KEY_NEW_MODEL: _KEY_USE,
        AlertMetric.KEY_NEW_CLIENT_TOKEN: _KEY_USE,
        AlertMetric.PROVIDER_OUTAGE: MetricTerms(
            kind=MetricKind.OUTAGES,
            unit=AlertUnit.REQUESTS,
            compared=Comparison.AT_LEAST,
            scopes=frozenset({ScopeField.PROVIDER}),
            threshold_is_optional=True,
            of_platform=True,
            can_be_previewed=True,
        ),
        AlertMetric.STRIPE_WEBHOOK_FAILING: _reported(platform_only=True),
        AlertMetric.STRIPE_RECONCILIATION: _reported(platform_only=True),
        AlertMetric.LAGO_BACKLOG: _reported(platform_only=True),
        AlertMetric.RECONCILIATION_DIFFERENCE: _reported(),
        AlertMetric.TOP_UP_FAILING: _reported(),
        AlertMetric.PAYMENT_DISPUTED: _reported(),
        AlertMetric.CHANNEL_FAILING: _reported(),
        AlertMetric.WEBHOOK_ENDPOINT_FAILING: _reported(),
    }
)
"""Every metric of this build."""
REPORTED_METRICS = tuple(metric for metric, terms in METRICS.items() if terms.kind is MetricKind.REPORTED)
"""What other services may report."""
