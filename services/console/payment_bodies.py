"""Request bodies and queries about payments. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictBool

from keyferry.contracts.payments import MAX_PAGE, StripeId
from keyferry.contracts.stripe_events import EventState
from keyferry.contracts.text import Refusing
from services.console.bodies import IN_DIGITS, Body, GivenDay, QueryParameters


class PaymentQuery(QueryParameters):
    """Which part of a list to return: `after` is the `next` of the previous page."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE), IN_DIGITS] = 50
    after: Annotated[str, Refusing(300)] | None = None


class StripeEventQuery(PaymentQuery):
    """Which events to return: all, or those in one state."""

    event_state: EventState | None = None


class StripeReplayBody(Body):
    """Which events to process again: some by their ids, or all that are parked."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"all_parked": True}]})

    event_ids: Annotated[list[StripeId], Field(default_factory=list, max_length=MAX_PAGE)]
    all_parked: StrictBool = False


class StripeReconciliationBody(Body):
    """Which day to compare."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"day": "2026-11-29"}]})

    day: GivenDay | None = None
    """A day in UTC that has begun; null for yesterday."""


class ReportQuery(QueryParameters):
    """How many reports to return."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE), IN_DIGITS] = 30
