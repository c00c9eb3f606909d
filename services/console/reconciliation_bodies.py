"""Request bodies and queries about comparisons with providers, and about Lago. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictBool

from keyferry.contracts.ids import KeyId, ProviderName, TenantId
from keyferry.contracts.lago import MAX_LISTED, ExternalId, LagoId
from keyferry.contracts.money import Usd
from keyferry.contracts.reconciliation import (
    MAX_PAGE,
    DayOfMonth,
    ProviderKeyName,
    ReconciliationId,
    TolerancePercent,
    UsageCsv,
)
from keyferry.contracts.text import Identifier
from services.console.bodies import IN_DIGITS, Body, GivenDay, QueryParameters


class ReconciliationQuery(QueryParameters):
    """Which reports to return: `after` is the `next` of the previous page."""

    provider: ProviderName | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE), IN_DIGITS] = 50
    after: ReconciliationId | None = None


class ReconciliationBody(Body):
    """Which days to compare, and with what: the provider's API, a CSV or a total."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "provider": "openai",
                    "since": "2026-11-01",
                    "until": "2026-11-30",
                    "csv": "date,model,input_tokens,output_tokens,cost\n2026-11-02,gpt-4o,1200,340,0.0064\n",
                }
            ]
        }
    )

    provider: ProviderName
    since: GivenDay
    """The first day, in UTC."""
    until: GivenDay
    """The last day, in UTC; at most 92 days."""
    key_id: KeyId | None = None
    """Only attempts with this key of the tenant."""
    provider_key: ProviderKeyName | None = None
    """Only usage of this key, by the provider's own id of it."""
    csv: UsageCsv | None = None
    """A first line with names of columns, among them cost, input_tokens or output_tokens; date and model where there are any."""
    total_usd: Usd | None = None
    """The total of an invoice, in dollars as text."""


class ReconciliationScheduleBody(Body):
    """When a month is compared, and from which difference on an alert is raised."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"day_of_month": 3, "tolerance_usd": "5"}]})

    enabled: StrictBool = True
    day_of_month: DayOfMonth = 3
    tolerance_usd: Annotated[Usd, Field(validate_default=True)] = "1"  # type: ignore[assignment]
    tolerance_percent: TolerancePercent = 2


class LagoCustomerQuery(QueryParameters):
    """Which customers to return: `after` is the `next` of the previous page."""

    only: TenantId | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED), IN_DIGITS] = MAX_LISTED
    after: TenantId | None = None


class LagoCustomerBody(Body):
    """Which customer a tenant is in Lago."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"external_subscription_id": "acme-2026"}]})

    skipped: StrictBool = False
    """Whether nothing of the tenant is sent to Lago."""
    external_customer_id: ExternalId | None = None
    """Null for `keyferry-` and the tenant."""
    external_subscription_id: ExternalId | None = None
    """Null for `keyferry-` and the tenant."""
    wallet_id: LagoId | None = None
    """Where purchases are booked; null for a wallet that is added with the first one."""


class LagoEventQuery(QueryParameters):
    """Which refused events to return: `after` is the `next` of the previous page."""

    only: TenantId | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED), IN_DIGITS] = 100
    after: Identifier | None = None


class LagoReplayBody(Body):
    """Which refused events to report again: these, or the oldest five hundred of all."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"every": True}]})

    attempt_ids: Annotated[list[Identifier], Field(default_factory=list, max_length=MAX_LISTED)]
    every: StrictBool = False


class LagoBackfillBody(Body):
    """Which attempts of the ledger to report."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"tenant": "acme", "since": "2026-11-01", "until": "2026-11-07"}]}
    )

    tenant: TenantId
    since: GivenDay
    """The first day, in UTC."""
    until: GivenDay
    """The last day, in UTC; at most 92 days."""
