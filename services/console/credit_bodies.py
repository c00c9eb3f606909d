"""Request bodies and queries about credits. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field

from keyferry.contracts.credit_management import (
    MAX_HISTORY_PAGE,
    AdjustedCredits,
    GrantedCredits,
    IdempotencyKey,
    Reason,
    Threshold,
)
from keyferry.contracts.ids import Reference
from keyferry.contracts.text import Identifier, Refusing
from services.console.bodies import IN_DIGITS, Body, QueryParameters


class CreditHistoryQuery(QueryParameters):
    """Which part of the history to return: `after` is the `next` of the previous page."""

    limit: Annotated[int, Field(ge=1, le=MAX_HISTORY_PAGE), IN_DIGITS] = 50
    after: Annotated[str, Refusing(300)] | None = None


class AdjustmentBody(Body):
    """A correction of a tenant's credits."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"credits": "-250", "idempotency_key": "case-812", "reason": "granted twice"}]}
    )

    credits: AdjustedCredits
    """How many, as text; negative to take away. A thousand are a dollar."""
    idempotency_key: IdempotencyKey
    """Your name for this change: repeating it has no effect."""
    reason: Reason


class GrantBody(Body):
    """Credits for a tenant."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"credits": "50000", "idempotency_key": "welcome-1", "reason": "welcome"}]}
    )

    credits: GrantedCredits
    """How many, as text. A thousand are a dollar."""
    idempotency_key: IdempotencyKey
    """Your name for this grant: repeating it has no effect."""
    reason: Reason
    source: Reference | None = None
    """The system that the grant comes from, such as a payment provider."""
    source_id: Identifier | None = None
    """Its id there: of the grants with one source and id only the first has an effect."""


class CreditThresholdBody(Body):
    """A threshold of credits."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"credits": "5000"}]})

    credits: Threshold | None
    """Credits count as low at or below it; null for the default."""
