"""Alert rules: which figure of a tenant is watched, when that is worth an alert, and who is notified.

A rule has at most one open alert for each subject, which is what its metric has many of: a key, a budget, a provider. Pure.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    StrictBool,
    model_validator,
)
from pydantic_core import PydanticCustomError

from keyferry.contracts.alert_metrics import (
    METRICS,
    AlertMetric,
    AlertUnit,
    AlertWindow,
    Comparison,
    MetricKind,
    ScopeField,
)
from keyferry.contracts.alert_references import MissingReference
from keyferry.contracts.budget import BudgetId
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, ChosenModel, KeyId, Operation, ProviderName, Reference, TenantId
from keyferry.contracts.money import plain, usd
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.text import Count, Explanation, Identifier, Line, Moment, Refusing
from keyferry.contracts.usage import KeySource

MAX_ALERT_RULES = 200
"""Most rules of one tenant, besides those that every tenant has."""
MAX_ALERT_CHANNELS = 20
DEFAULT_COOLDOWN_SECONDS = 900
MAX_COOLDOWN_SECONDS = 7 * 24 * 3600
DEFAULT_MARGIN_PERCENT = 5
DEFAULT_LEAST_ATTEMPTS = 20
PREVIEW_DAYS = 30
MAX_SUBJECT = 200

AlertRuleId = Annotated[str, Refusing(64, 5, pattern=r"^alr_[a-z0-9_]+$", form="alr_ and a-z 0-9 and _")]
"""Rules that every tenant has are called `alr_default_…`."""
AlertId = Annotated[str, Refusing(64, 5, pattern=r"^alt_[a-z0-9]+$", form="alt_ and a-z 0-9")]
AlertRuleName = Annotated[str, Refusing(100, no_key=True, visible=True)]
AlertChannelId = Annotated[str, Refusing(64, 3, pattern=r"^[a-z]+_[a-z0-9_]+$", form="the id of a channel")]
AlertSubject = Annotated[
    str, Refusing(MAX_SUBJECT, 0, pattern=r"^[\x21-\x7e]*$", form="printable ASCII without spaces")
]
"""What an alert is about where the metric has many of it, such as the id of a key; else empty."""
AlertChannelIds = Annotated[list[AlertChannelId], Field(max_length=MAX_ALERT_CHANNELS)]
AlertPercent = Annotated[int, Strict(), Field(ge=0, le=50)]


def _require_bounds(amount: Decimal) -> Decimal:
    if amount < 0:
        raise PydanticCustomError("threshold", "this must be 0 or more")
    return amount


AlertValue = Annotated[Decimal, BeforeValidator(usd), PlainSerializer(plain, return_type=str, when_used="json")]
"""A figure in the unit of its metric: a decimal with at most twelve places, as text."""
AlertThreshold = Annotated[AlertValue, AfterValidator(_require_bounds)]


class AlertSeverity(StrEnum):
    """How urgent an alert is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"
    """Also sent in quiet hours, unless a channel says otherwise."""


class Sensitivity(StrEnum):
    """How far above the usual a figure has to be: so many times the spread of the hours that it is compared with."""

    LOW = "low"
    """Eight times."""
    MEDIUM = "medium"
    """Five times."""
    HIGH = "high"
    """Three times."""


class AlertTag(Message):
    """A mark of requests, and the value that it has to have."""

    model_config = ConfigDict(extra="forbid")

    name: Operation
    value: Annotated[str, Refusing(256, min_characters=0, no_key=True)]


class AlertScope(Message):
    """The part of a tenant's usage, keys or budgets that a rule is about: what matches everything given."""

    # An unknown field may say that something narrower is meant.
    model_config = ConfigDict(extra="forbid")

    provider: ProviderName | None = None
    model: ChosenModel | None = None
    """As the provider names it."""
    operation: Operation | None = None
    team: Reference | None = None
    member: Reference | None = None
    client_token: Identifier | None = None
    key: KeyId | None = None
    """A provider key, by its id."""
    key_source: KeySource | None = None
    tag: AlertTag | None = None
    """With no other field but `key_source`: usage by tag is kept apart."""
    budget: BudgetId | None = None

    @property
    def given(self) -> frozenset[ScopeField]:
        """The fields that have a value."""
        return frozenset(field for field in ScopeField if getattr(self, field.value) is not None)


class AlertCondition(Message):
    """When the figure is worth an alert: at a threshold, or when it is unusual for the hour.

    Balances, days left and days until an expiry are compared with "at most", everything else with "at least". Unusual is what is
    above the median of the same hour of the same weekday in the last eight weeks by more than some multiples of its spread: the
    median absolute deviation times 1.4826, and at least a tenth of the median. It takes four such hours of history.
    """

    model_config = ConfigDict(extra="forbid")

    threshold: AlertThreshold | None = None
    """In the unit of the metric. Beside `unusual`: the figure has to be at least this as well."""
    unusual: Sensitivity | None = None


class AlertRuleTerms(Message):
    """What a rule watches, and what follows."""

    tenant: TenantId
    """`platform` for the rules of operators."""
    name: AlertRuleName
    metric: AlertMetric
    scope: AlertScope = AlertScope()
    condition: AlertCondition = AlertCondition()
    window: AlertWindow | None = None
    """Null for a metric without windows."""
    least_attempts: Annotated[int, Strict(), Field(ge=1, le=10**9)] = DEFAULT_LEAST_ATTEMPTS
    """A share of failures or a latency of fewer attempts says nothing."""
    severity: AlertSeverity = AlertSeverity.WARNING
    channels: AlertChannelIds | None = None
    """Null for the tenant's usual channels; empty for none, so that alerts are on the page alone."""
    enabled: StrictBool = True
    cooldown_seconds: Annotated[int, Strict(), Field(ge=0, le=MAX_COOLDOWN_SECONDS)] = DEFAULT_COOLDOWN_SECONDS
    """After an alert is resolved, the rule fires about the same subject again only so much later."""
    margin_percent: AlertPercent = DEFAULT_MARGIN_PERCENT
    """An alert is resolved once the figure is back beyond the threshold by so many percent of it."""
    disable_key: StrictBool = False
    """Whether the key is disabled of which the use is unusual; only with `key_burst`, `key_new_model`, `key_new_client_token`."""

    @model_validator(mode="after")
    def _check_terms(self) -> "AlertRuleTerms":
        problem = find_problem(self)
        if problem is not None:
            raise PydanticCustomError("rule", problem)
        return self


def find_problem(terms: AlertRuleTerms) -> str | None:
    """Return what is wrong with the terms of a rule, such as a window that its metric does not have; None if nothing is."""
    metric = METRICS[terms.metric]
    if terms.tenant == PLATFORM_TENANT and not metric.of_platform:
        return f"the platform itself has no `{terms.metric}`: name a tenant"
    if terms.tenant != PLATFORM_TENANT and metric.of_platform_only:
        return f"only the platform has `{terms.metric}`"
    return _window_problem(terms) or _scope_problem(terms) or _condition_problem(terms)


def _window_problem(terms: AlertRuleTerms) -> str | None:
    windows = METRICS[terms.metric].windows
    if terms.condition.unusual is not None:
        if windows and terms.window is not AlertWindow.HOUR:
            return "what is unusual for the hour has the window `hour`"
        return None if windows or terms.window is None else f"`{terms.metric}` has no window"
    if not windows:
        return None if terms.window is None else f"`{terms.metric}` has no window"
    if terms.window not in windows:
        return f"`{terms.metric}` needs a window: {', '.join(windows)}"
    return None


def _scope_problem(terms: AlertRuleTerms) -> str | None:
    given, known = terms.scope.given, METRICS[terms.metric].scopes
    if not given <= known:
        possible = ", ".join(sorted(known)) or "nothing"
        return f"`{terms.metric}` can be limited by {possible}, not by {', '.join(sorted(given - known))}"
    if ScopeField.TAG in given and not given <= {ScopeField.TAG, ScopeField.KEY_SOURCE}:
        return "a scope with a tag can have `key_source` besides, and nothing else"
    return None


def _condition_problem(terms: AlertRuleTerms) -> str | None:
    metric, condition = METRICS[terms.metric], terms.condition
    if condition.unusual is not None and not metric.may_be_unusual:
        return f"`{terms.metric}` is not compared with what is usual: give a `threshold`"
    if metric.compared is Comparison.HAPPENS and condition.threshold is not None:
        return f"`{terms.metric}` has no threshold"
    if terms.metric is AlertMetric.KEY_BURST and condition.unusual is None:
        return "`key_burst` needs `unusual`: low, medium or high"
    needs_one = metric.compared is not Comparison.HAPPENS and not metric.threshold_is_optional
    if needs_one and condition.threshold is None and condition.unusual is None:
        also = " or `unusual`" if metric.may_be_unusual else ""
        return f"`{terms.metric}` needs a `threshold`{also}"
    if terms.disable_key and metric.kind is not MetricKind.KEY_USE:
        return "a key is only disabled by a rule about unusual use of keys"
    return None


class SaveAlertRule(AlertRuleTerms, Command):
    """Add a rule, or replace all terms of one. Unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid")

    rule_id: AlertRuleId | None = None
    """The rule to replace, whose metric stays as it is; null adds one."""
    expected_revision: Count | None = None
    """Refuse unless this is the revision that is saved; 0 for a default rule that was never changed. Null does not look."""
    actor: Actor = "operator"
    """Who does it, for the audit."""


class AlertRule(AlertRuleTerms):
    """A rule as it is stored."""

    rule_id: AlertRuleId
    revision: Count
    """Grows with each change; 0 for a default rule that was never changed."""
    created_at: Moment | None = None
    """Null for a default rule that was never changed."""


class AlertRuleState(StrEnum):
    """Whether a rule can fire."""

    ACTIVE = "active"
    OFF = "off"
    """It is not enabled."""
    BROKEN = "broken"
    """What it is about does not exist (any more), or its terms are unknown to this build: it stays silent until it is changed."""


class AlertRuleStatus(Message):
    """A rule, whether it can fire, and what it did."""

    rule_id: AlertRuleId
    tenant: TenantId
    name: Line
    rule: AlertRule | None = None
    """Null if its terms cannot be read by this build."""
    is_default: bool
    """Whether every tenant has it. Removing such a rule restores its usual terms."""
    state: AlertRuleState
    reason: Explanation | None = None
    """Why it is broken, and what to do about it."""
    missing: list[MissingReference] = Field(default_factory=list)
    """What its scope names and what does not exist (any more). What cannot be looked up at the moment is not listed."""
    revision: Count
    open_alerts: Count = 0
    last_fired_at: Moment | None = None


class ListAlertRules(Command):
    """Request the rules of a tenant, or one of them."""

    tenant: TenantId
    rule_id: AlertRuleId | None = None


class AlertRules(Message):
    """The rules of a tenant: its own in the order in which they were added, then those that every tenant has."""

    tenant: TenantId
    rules: list[AlertRuleStatus]


class RemoveAlertRule(Command):
    """Remove a rule, and resolve its open alerts; or restore the usual terms of one that every tenant has."""

    tenant: TenantId
    rule_id: AlertRuleId
    actor: Actor = "operator"


class AlertRuleRemoved(Message):
    """The rule that was removed, and how many alerts were resolved with it."""

    rule_id: AlertRuleId
    resolved: Count


class PreviewAlertRule(AlertRuleTerms, Command):
    """Request when a rule would have fired in the last days. Nothing is saved."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Strict(), Field(ge=1, le=PREVIEW_DAYS)] = PREVIEW_DAYS


class PreviewedAlert(Message):
    """An alert that there would have been."""

    subject: AlertSubject
    fired_at: Moment
    """To the quarter hour for figures of usage."""
    resolved_at: Moment | None = None
    """Null if it would be open."""
    value: AlertValue | None = None
    threshold: AlertValue | None = None
    highest: AlertValue | None = None
    """The figure that was furthest beyond the threshold."""


class PreviewedPoint(Message):
    """The figure at a moment, and what it was compared with."""

    at: Moment
    value: AlertValue | None = None
    limit: AlertValue | None = None


class AlertPreview(Message):
    """What a rule would have done."""

    since: Moment
    until: Moment
    can_be_previewed: bool
    """Whether what is recorded says so; `reason` says why not."""
    reason: Explanation | None = None
    unit: AlertUnit
    fired: Count
    """How often it would have fired."""
    alerts: list[PreviewedAlert] = Field(default_factory=list)
    """The last 200 of them, oldest first."""
    points: list[PreviewedPoint] = Field(default_factory=list)
    """For a chart, hour by hour at most; none for metrics of many subjects."""
