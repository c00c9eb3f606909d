"""Reporting usage and purchases to Lago: which customer a tenant is there, what waits, and what Lago has refused. Pure."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.reconciliation import Day
from keyferry.contracts.text import Count, Explanation, Identifier, Moment, Refusing, Url

USAGE_CODE = "llm_tokens"
"""The code of the billable metric in Lago."""
MAX_LISTED = 500
MAX_BACKFILL_DAYS = 92

ExternalId = Annotated[
    str, Refusing(200, pattern=r"^[\x21-\x7e]+$", form="printable ASCII without spaces", no_key=True)
]
"""An id that we choose for something in Lago."""
LagoId = Annotated[str, Refusing(64, pattern=r"^[A-Za-z0-9-]+$", form="A-Z a-z 0-9 and -")]
"""An id that Lago has chosen."""


class LagoCustomerState(StrEnum):
    """What is done with a tenant's usage."""

    REPORTED = "reported"
    SKIPPED = "skipped"
    """By choice of an operator: nothing of the tenant is sent to Lago."""


class LagoCustomer(Message):
    """Which customer, subscription and wallet a tenant is in Lago."""

    tenant: TenantId
    state: LagoCustomerState
    external_customer_id: ExternalId
    external_subscription_id: ExternalId
    wallet_id: LagoId | None = None
    """Where purchases are booked; null if Lago has none of it yet."""
    created_by: Actor
    """`billing` if it was created by itself, from the plan of `KEYFERRY_LAGO_PLAN`."""
    updated_at: Moment


class SaveLagoCustomer(Command):
    """Choose which customer a tenant is in Lago, or that nothing of it is sent there."""

    tenant: TenantId
    skipped: StrictBool = False
    external_customer_id: ExternalId | None = None
    """Null for `keyferry-<tenant>`."""
    external_subscription_id: ExternalId | None = None
    """Null for `keyferry-<tenant>`."""
    wallet_id: LagoId | None = None
    actor: Actor = "operator"


class ListLagoCustomers(Command):
    """Request which tenant is which customer in Lago."""

    only: TenantId | None = None
    """Only this tenant."""
    after: TenantId | None = None
    limit: int = Field(default=MAX_LISTED, ge=1, le=MAX_LISTED)


class LagoCustomers(Message):
    """A page of customers, in the order of tenants."""

    customers: Annotated[list[LagoCustomer], Field(max_length=MAX_LISTED)]
    next: TenantId | None = None


class GetLagoStatus(Command):
    """Request how reporting to Lago is going."""


class ReportingState(StrEnum):
    """Whether usage is reported."""

    OFF = "off"
    """`KEYFERRY_LAGO_URL` is not set: attempts are not kept for Lago."""
    NO_KEY = "no_key"
    """The vault has no API key of Lago: attempts wait."""
    REPORTING = "reporting"
    FAILING = "failing"
    """The last batch was not accepted; it is tried again, and attempts wait."""


class LagoStatus(Message):
    """How reporting to Lago is going."""

    state: ReportingState
    url: Url | None = None
    plan: ExternalId | None = None
    """The plan of tenants that have no customer yet; null if those are left out."""
    since: Moment | None = None
    """Attempts that ended before are not reported by themselves; `backfill` reports them."""
    waiting_messages: Count = 0
    """Batches of attempts in the stream that are not reported yet."""
    oldest_waiting_at: Moment | None = None
    accepted: Count = 0
    """Events that Lago has accepted."""
    known: Count = 0
    """Events that Lago had already."""
    skipped: Count = 0
    """Attempts of tenants without a customer in Lago."""
    parked: Count = 0
    """Events that Lago refuses: see their reasons, and replay them once that is mended."""
    purchases_waiting: Count = 0
    last_accepted_at: Moment | None = None
    last_error: Explanation | None = None


class ListParkedLagoEvents(Command):
    """Request events that Lago refuses, oldest first."""

    only: TenantId | None = None
    """Only those of this tenant."""
    after: Identifier | None = None
    limit: int = Field(default=100, ge=1, le=MAX_LISTED)


class ParkedLagoEvent(Message):
    """An event that Lago refuses."""

    attempt_id: Identifier
    tenant: TenantId
    reason: Explanation
    tokens: Count
    ended_at: Moment
    parked_at: Moment
    replays: Count


class ParkedLagoEvents(Message):
    """A page of events that Lago refuses."""

    total: Count
    events: Annotated[list[ParkedLagoEvent], Field(max_length=MAX_LISTED)]
    next: Identifier | None = None


class ReplayLagoEvents(Command):
    """Report events again that Lago has refused: these, or the oldest five hundred of all."""

    attempt_ids: Annotated[list[Identifier], Field(max_length=MAX_LISTED)] = Field(default_factory=list)
    every: StrictBool = False
    actor: Actor = "operator"

    @model_validator(mode="after")
    def _check_choice(self) -> "ReplayLagoEvents":
        if self.every == bool(self.attempt_ids):
            raise PydanticCustomError("attempt_ids", "name attempts, or say `every`")
        return self


class LagoOutcome(Message):
    """What became of events."""

    accepted: Count = 0
    known: Count = 0
    skipped: Count = 0
    """Of tenants without a customer in Lago, or without usage."""
    parked: Count = 0


class ReplayedLagoEvents(Message):
    """What became of events that were reported again, and how many are still parked."""

    outcome: LagoOutcome
    left: Count


class BackfillLago(Command):
    """Report a tenant's attempts of days (UTC, both included) from the ledger; what Lago knows is not counted again."""

    tenant: TenantId
    since: Day
    until: Day
    actor: Actor = "operator"

    @model_validator(mode="after")
    def _check_span(self) -> "BackfillLago":
        if self.until < self.since:
            raise PydanticCustomError("until", "`until` must not be before `since`: both days are included")
        if (self.until - self.since).days >= MAX_BACKFILL_DAYS:
            raise PydanticCustomError("until", f"at most {MAX_BACKFILL_DAYS} days can be reported at once")
        return self


class LagoBackfill(Message):
    """What was reported from the ledger."""

    tenant: TenantId
    since: date
    until: date
    attempts: Count
    outcome: LagoOutcome
