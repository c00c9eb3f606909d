"""Queries about usage, as the URL has them. Pure."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic import model_validator as validator_of_model
from pydantic_core import PydanticCustomError

from keyferry.contracts.analytics import (
    CLOSED_DIMENSIONS,
    MAX_LINES,
    MAX_ROWS,
    MAX_TAG_FILTERS,
    MAX_VALUES,
    AnalyticsQuery,
    BreakDownUsage,
    BucketLength,
    ComputeSavings,
    Dimension,
    FilterValue,
    ForecastUsage,
    ListSeries,
    Measure,
    Period,
    ZoneName,
)
from keyferry.contracts.ids import ModelName, ProviderName
from keyferry.contracts.service_levels import MAX_PERIOD_DAYS, PERIOD_DAYS
from keyferry.contracts.text import Refusing
from services.console.bodies import IN_DIGITS, GivenMoment, QueryParameters

Q = TypeVar("Q", bound=AnalyticsQuery)
_TAG = "tag:"
_FILTERS = tuple(each for each in Dimension if each not in (Dimension.TENANT, Dimension.TAG))
SPLITS = (*(each.value for each in _FILTERS), f"{_TAG}NAME")
"""What usage of one tenant can be split by."""


def _require_zone(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValidationError:
        raise PydanticCustomError("zone", "a time zone of the IANA database, such as Europe/Berlin") from None


def _require_split(value: str) -> str:
    if value not in SPLITS and not (value.startswith(_TAG) and len(value) > len(_TAG)):
        raise PydanticCustomError("split", "one of {splits}", {"splits": ", ".join(SPLITS)})
    return value


def _require_distinct(values: list[str]) -> list[str]:
    dimensions = [value.partition(":")[0] for value in values]
    if len(set(dimensions)) < len(dimensions):
        raise PydanticCustomError("split", "each dimension once, and one tag")
    return values


def _known_values(dimension: Dimension) -> Callable[[list[str]], list[str]]:
    """Return a check that values are known: those of a misspelt filter would match nothing."""
    known = [each.value for each in CLOSED_DIMENSIONS[dimension]]

    def check(values: list[str]) -> list[str]:
        if not set(values) <= {"", *known}:
            raise PydanticCustomError("filter", "known values are {known}", {"known": ", ".join(known)})
        return values

    return check


GivenZone = Annotated[ZoneName, WrapValidator(_require_zone)]
Values = Annotated[list[FilterValue], Field(max_length=MAX_VALUES)]
"""Values of which one has to be there; an empty one stands for none."""
Split = Annotated[
    str,
    Refusing(70, pattern=r"^[a-z_]+(?::[A-Za-z0-9_.-]{1,64})?$", form="a dimension, or tag:NAME"),
    AfterValidator(_require_split),
]
"""A dimension, or `tag:NAME` for the values of a tag."""
TenantSplit = Literal["tenant"] | Split
GivenTag = Annotated[str, Refusing(321, pattern=r"^[A-Za-z0-9_.-]{1,64}=.*$", form="NAME=VALUE")]
TagFilters = Annotated[list[GivenTag], Field(max_length=MAX_TAG_FILTERS * MAX_VALUES)]
CsvOrJson = Literal["json", "csv"]


class UsageFilters(QueryParameters):
    """Which attempts: those that have one of the values of every filter. A filter can be given several times."""

    provider: Values = Field(default_factory=list)
    endpoint: Values = Field(default_factory=list)
    """Names of the tenant's own servers."""
    model: Values = Field(default_factory=list)
    operation: Values = Field(default_factory=list)
    power_level: Annotated[Values, AfterValidator(_known_values(Dimension.POWER_LEVEL))] = Field(default_factory=list)
    key_source: Annotated[Values, AfterValidator(_known_values(Dimension.KEY_SOURCE))] = Field(default_factory=list)
    key: Values = Field(default_factory=list)
    """Ids of provider keys."""
    client_token: Values = Field(default_factory=list)
    """Ids of client tokens."""
    team: Values = Field(default_factory=list)
    member: Values = Field(default_factory=list)
    tier: Annotated[Values, AfterValidator(_known_values(Dimension.TIER))] = Field(default_factory=list)
    outcome: Annotated[Values, AfterValidator(_known_values(Dimension.OUTCOME))] = Field(default_factory=list)
    error_class: Annotated[Values, AfterValidator(_known_values(Dimension.ERROR_CLASS))] = Field(default_factory=list)

    def filters(self) -> dict[Dimension, list[str]]:
        """Return the values by dimension, without those that are not given."""
        found = {dimension: list(getattr(self, dimension.value)) for dimension in _FILTERS}
        return {dimension: values for dimension, values in found.items() if values}


class SpanOnlyQuery(QueryParameters):
    """Which span of time, in which zone."""

    period: Period | None = None
    """`24h`; `7d`, `30d` (the default), `90d`: days of the zone, of which today is the last; `all`; or a month: `2026-11`."""
    since: GivenMoment | None = None
    """In place of a period. Inclusive, rounded down to a quarter hour; in the zone if it has no offset."""
    until: GivenMoment | None = None
    """Exclusive, rounded up to a quarter hour; in the zone if it has no offset. Null for now."""
    tz: GivenZone = "UTC"
    """The zone of days, weeks and months."""

    @validator_of_model(mode="after")
    def _check_span(self) -> Self:
        if self.period is not None and (self.since, self.until) != (None, None):
            raise PydanticCustomError("span", "give `period`, or `since` and `until`, not both")
        if self.since is not None and self.until is not None:
            since, until = (_in_zone(each, self.tz) for each in (self.since, self.until))
            if since >= until:
                raise PydanticCustomError("span", "`until` must be later than `since`")
        return self

    def to_span(self, kind: type[Q], **more: object) -> Q:
        """Return the ledger's query of a kind."""
        values: dict[str, Any] = {"tz": self.tz, "since": self.since, "until": self.until} | more
        return kind.model_validate(values | ({} if self.period is None else {"period": self.period}))


class SpanQuery(UsageFilters, SpanOnlyQuery):
    """Which span of time, in which zone, and which attempts."""

    tag: TagFilters = Field(default_factory=list)
    """`NAME=VALUE`; an empty value stands for attempts without the tag."""

    @validator_of_model(mode="after")
    def _check_tags(self) -> Self:
        if len(self.tags()) > MAX_TAG_FILTERS or any(len(values) > MAX_VALUES for values in self.tags().values()):
            message = "at most {names} names of tags, and {values} values of each"
            raise PydanticCustomError("tags", message, {"names": MAX_TAG_FILTERS, "values": MAX_VALUES})
        return self

    def tags(self) -> dict[str, list[str]]:
        """Return the values by name of a tag."""
        found: dict[str, list[str]] = {}
        for each in self.tag:
            name, _, value = each.partition("=")
            found.setdefault(name, []).append(value)
        return found

    def to_command(self, kind: type[Q], tenant: str | None, **more: object) -> Q:
        """Return the ledger's query of a kind."""
        return self.to_span(kind, tenant=tenant, filters=self.filters(), tags=self.tags(), **more)


class SeriesQuery(SpanQuery):
    """Which series."""

    bucket: BucketLength = BucketLength.DAY
    by: Split | None = None
    """In how many lines: one for each of the greatest values of a dimension, and one for the rest."""
    lines: Annotated[int, Field(ge=1, le=MAX_LINES), IN_DIGITS] = 8
    sort: Measure = Measure.COST
    percentiles: Literal["true"] | None = None
    """Whether points have the percentiles of latency."""
    format: CsvOrJson | None = None
    """Also by the header Accept: `text/csv`."""

    def to_series(self, tenant: str | None) -> ListSeries:
        """Return the ledger's query."""
        dimensions, tag = read_splits([] if self.by is None else [self.by])
        by = dimensions[0] if dimensions else None
        own = {
            "bucket": self.bucket,
            "lines": self.lines,
            "sort": self.sort,
            "percentiles": self.percentiles is not None,
        }
        return self.to_command(ListSeries, tenant, by=by, tag=tag, **own)


class RankingQuery(SpanQuery):
    """How many rows, and in which format."""

    limit: Annotated[int, Field(ge=1, le=MAX_ROWS), IN_DIGITS] = 50
    format: CsvOrJson | None = None
    """Also by the header Accept: `text/csv`."""

    def to_breakdown(self, tenant: str | None, by: Sequence[str], **more: object) -> BreakDownUsage:
        """Return the ledger's query."""
        dimensions, tag = read_splits(by)
        return self.to_command(BreakDownUsage, tenant, by=dimensions, tag=tag, limit=self.limit, **more)


class BreakdownQuery(RankingQuery):
    """Which breakdown."""

    by: Annotated[list[Split], Field(min_length=1, max_length=3), AfterValidator(_require_distinct)] = Field(
        default_factory=lambda: [Dimension.MODEL.value]
    )
    """Up to three: `by=team&by=model` has a row for each combination."""
    sort: Measure = Measure.COST
    percentiles: Literal["true"] | None = None
    """Whether rows have the percentiles of latency."""


class AllTenantsQuery(RankingQuery):
    """Which breakdown of all tenants."""

    by: Annotated[list[TenantSplit], Field(min_length=1, max_length=3), AfterValidator(_require_distinct)] = Field(
        default_factory=lambda: [Dimension.TENANT.value]
    )
    """Up to three: `by=tenant&by=model` has a row for each combination."""
    tenant: Values = Field(default_factory=list)
    sort: Measure = Measure.COST
    percentiles: Literal["true"] | None = None
    """Whether rows have the percentiles of latency."""

    def filters(self) -> dict[Dimension, list[str]]:
        """Return the values by dimension, those of tenants among them."""
        return super().filters() | ({Dimension.TENANT: list(self.tenant)} if self.tenant else {})


class AllSeriesQuery(SeriesQuery):
    """Which series over all tenants."""

    tenant: Values = Field(default_factory=list)

    def filters(self) -> dict[Dimension, list[str]]:
        """Return the values by dimension, those of tenants among them."""
        return super().filters() | ({Dimension.TENANT: list(self.tenant)} if self.tenant else {})


class ServiceLevelQuery(QueryParameters):
    """Over which period to look at service levels."""

    days: Annotated[int, Field(ge=1, le=MAX_PERIOD_DAYS), IN_DIGITS] = PERIOD_DAYS


class TopModelsQuery(RankingQuery):
    """Which models to rank, and by what."""

    limit: Annotated[int, Field(ge=1, le=MAX_ROWS), IN_DIGITS] = 10
    sort: Measure = Measure.COST


class ErrorsQuery(RankingQuery):
    """Which errors to count."""

    by: Annotated[list[Split], Field(max_length=2), AfterValidator(_require_distinct)] = Field(default_factory=list)
    """What else to split them by."""

    @validator_of_model(mode="after")
    def _check_by(self) -> "ErrorsQuery":
        if Dimension.ERROR_CLASS.value in self.by:
            raise PydanticCustomError("split", "errors are always by `error_class`")
        return self


class LatencyQuery(RankingQuery):
    """Whose latency."""

    by: Annotated[list[Split], Field(min_length=1, max_length=3), AfterValidator(_require_distinct)] = Field(
        default_factory=lambda: [Dimension.MODEL.value]
    )


class SavingsQuery(SpanQuery):
    """Which savings."""

    baseline_provider: ProviderName | None = None
    """With `baseline_model`: compare everything with what this model would have cost."""
    baseline_model: ModelName | None = None

    @validator_of_model(mode="after")
    def _check_baseline(self) -> "SavingsQuery":
        if (self.baseline_provider is None) != (self.baseline_model is None):
            raise PydanticCustomError("baseline", "give `baseline_provider` and `baseline_model`, or neither")
        return self

    def to_savings(self, tenant: str | None) -> ComputeSavings:
        """Return the ledger's query."""
        names = {"baseline_provider": self.baseline_provider, "baseline_model": self.baseline_model}
        return self.to_command(ComputeSavings, tenant, **names)


class ForecastQuery(UsageFilters):
    """Which forecast."""

    tz: GivenZone = "UTC"
    """The zone of the month and its days."""

    def to_forecast(self, tenant: str | None) -> ForecastUsage:
        """Return the ledger's query."""
        return ForecastUsage(tenant=tenant, tz=self.tz, filters=self.filters())


def read_splits(splits: Sequence[str]) -> tuple[list[Dimension], str | None]:
    """Return the dimensions of splits, and the name of the tag if one is `tag:NAME`."""
    names = [each.partition(":") for each in splits]
    tag = next((name for kind, _, name in names if name), None)
    return [Dimension(kind) for kind, _, _ in names], tag


def _in_zone(moment: datetime, tz: str) -> datetime:
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(tz))).astimezone(UTC)
