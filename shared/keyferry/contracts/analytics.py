"""Queries of usage analytics; `analytics_answers` has what the ledger answers.

A request that took several attempts counts once: in the quarter hour, and under the values, of its first attempt. So the requests
of the days of a range add up to those of the range, and those of the rows of a breakdown to its total. Attempts count where they
began. Spans begin and end at quarter hours; every answer names the ones that it is about. Pure.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from keyferry.contracts.envelope import Command
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import ModelName, Operation, ProviderName, TenantId
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.text import Moment, Refusing
from keyferry.contracts.usage import KeySource, Outcome

MAX_ROWS = 500
"""Rows of a breakdown in one answer."""
MAX_CELLS = 1_500
"""Buckets times lines of a series in one answer."""
MAX_LINES = 20
"""Values that a series is split into, besides the rest."""
MAX_VALUES = 50
"""Values of one dimension in a filter."""
MAX_TAG_FILTERS = 4
PERIOD_PATTERN = r"^(?:24h|7d|30d|90d|all|[0-9]{4}-(?:0[1-9]|1[0-2]))$"
PERIOD_FORM = "24h, 7d, 30d, 90d, all, or a month such as 2026-11"


def _require_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        # It is no zone's name, it is a folder's, or there is none of that name.
        raise ValueError("it should be a time zone of the IANA database, such as Europe/Berlin") from None
    return name


ZoneName = Annotated[
    str,
    Refusing(64, pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*$", form="a zone such as Europe/Berlin"),
    AfterValidator(_require_zone),
]
"""A time zone of the IANA database, in which days, weeks and months begin."""
Period = Annotated[str, Refusing(7, 2, pattern=PERIOD_PATTERN, form=PERIOD_FORM)]
"""24 hours up to now; days of the zone, of which today is the last; a calendar month of the zone; or everything."""
FilterValue = Annotated[str, Refusing(300, min_characters=0)]
"""A value of a dimension; the empty text stands for attempts without one."""


class BucketLength(StrEnum):
    """The length of the buckets of a series. Days, weeks (from Monday) and months are those of the zone."""

    QUARTER_HOUR = "15m"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Dimension(StrEnum):
    """What usage can be filtered and split by."""

    TENANT = "tenant"
    PROVIDER = "provider"
    ENDPOINT = "endpoint"
    MODEL = "model"
    OPERATION = "operation"
    POWER_LEVEL = "power_level"
    KEY_SOURCE = "key_source"
    KEY = "key"
    CLIENT_TOKEN = "client_token"  # noqa: S105 - the name of a dimension
    TEAM = "team"
    MEMBER = "member"
    """The user, as the tenant's own systems name them."""
    TIER = "tier"
    OUTCOME = "outcome"
    ERROR_CLASS = "error_class"
    TAG = "tag"
    """The values of the tag that the query names. An attempt without the tag has none."""


CLOSED_DIMENSIONS: Mapping[Dimension, type[StrEnum]] = MappingProxyType(
    {
        Dimension.POWER_LEVEL: PowerLevel,
        Dimension.KEY_SOURCE: KeySource,
        Dimension.TIER: Tier,
        Dimension.OUTCOME: Outcome,
        Dimension.ERROR_CLASS: FailureClass,
    }
)
"""Dimensions whose values are known."""


class Measure(StrEnum):
    """The measure that rows are in descending order of."""

    COST = "cost"
    SPEND = "spend"
    CHARGE = "charge"
    REQUESTS = "requests"
    ATTEMPTS = "attempts"
    TOKENS = "tokens"
    FAILED = "failed"


Filters = Annotated[
    dict[Dimension, Annotated[list[FilterValue], Field(min_length=1, max_length=MAX_VALUES)]],
    Field(max_length=len(Dimension)),
]


class AnalyticsQuery(Command):
    """What every query of usage names: whose attempts, of which span, and with which values.

    `since` and `until` replace the period; without an offset they are in the zone. They are widened to quarter hours.
    """

    tenant: TenantId | None = None
    """Null for all tenants, for the operator alone."""
    period: Period = "30d"
    since: Moment | None = None
    until: Moment | None = None
    """Exclusive; null for now."""
    tz: ZoneName = "UTC"
    filters: Filters = Field(default_factory=dict)
    """By dimension, the values of which an attempt has to have one; tags are filtered by `tags`."""
    tags: dict[Operation, Annotated[list[FilterValue], Field(min_length=1, max_length=MAX_VALUES)]] = Field(
        default_factory=dict, max_length=MAX_TAG_FILTERS
    )
    """By name of a tag, the values of which an attempt has to have one."""

    @model_validator(mode="after")
    def _check_filters(self) -> Self:
        """Refuse filters that match nothing because they are misspelt."""
        if Dimension.TAG in self.filters:
            raise ValueError("filters.tag: tags are filtered by `tags`, which names the tag")
        for dimension, values in CLOSED_DIMENSIONS.items():
            known = {"", *(each.value for each in values)}
            if not known.issuperset(self.filters.get(dimension, ())):
                raise ValueError(f"filters.{dimension}: known values are {', '.join(sorted(known - {''}))}")
        return self


class SummarizeAnalytics(AnalyticsQuery):
    """Request the totals of a span, and their change against the span of the same length before it."""


class ListSeries(AnalyticsQuery):
    """Request usage over time, in one line, or in one for each of the greatest values of a dimension and one for the rest."""

    bucket: BucketLength = BucketLength.DAY
    by: Dimension | None = None
    tag: Operation | None = None
    """The name of the tag if `by` is `tag`."""
    lines: Annotated[int, Field(ge=1, le=MAX_LINES)] = 8
    sort: Measure = Measure.COST
    percentiles: bool = False
    """Whether each point has percentiles; they take longer."""

    @model_validator(mode="after")
    def _check_tag(self) -> Self:
        _require_tag(self.tag, () if self.by is None else (self.by,))
        return self


class BreakDownUsage(AnalyticsQuery):
    """Request the greatest values of a dimension, or combinations of values of up to three, and the rest.

    Top models are a breakdown by `model`, error classes one by `error_class`.
    """

    by: Annotated[list[Dimension], Field(min_length=1, max_length=3)]
    tag: Operation | None = None
    """The name of the tag if `by` has `tag`."""
    sort: Measure = Measure.COST
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 50
    percentiles: bool = False
    """Whether each row has percentiles; they take longer."""

    @model_validator(mode="after")
    def _check_tag(self) -> Self:
        if len(set(self.by)) < len(self.by):
            raise ValueError("by: each dimension once")
        _require_tag(self.tag, self.by)
        return self


class ListTagNames(AnalyticsQuery):
    """Request the names of the tags in a span, most frequent first."""


class ComputeSavings(AnalyticsQuery):
    """Request what the tenant's own keys saved against the platform's price, and everything against one baseline model."""

    baseline_provider: ProviderName | None = None
    baseline_model: ModelName | None = None

    @model_validator(mode="after")
    def _check_baseline(self) -> Self:
        if (self.baseline_provider is None) != (self.baseline_model is None):
            raise ValueError("baseline_provider and baseline_model: give both or neither")
        return self


class ForecastUsage(Command):
    """Request how much the calendar month that lasts now in a zone will come to."""

    tenant: TenantId | None = None
    tz: ZoneName = "UTC"
    filters: Filters = Field(default_factory=dict)


def _require_tag(tag: str | None, by: tuple[Dimension, ...] | list[Dimension]) -> None:
    if (tag is not None) != (Dimension.TAG in by):
        raise ValueError("tag: give the name of the tag if `by` has `tag`, and only then")
