"""Bodies and queries about the margin and re-ratings, and the span of a compliance report. Pure."""

from pydantic import ConfigDict, StrictBool

from keyferry.contracts.charges import RerateId, RerateReason
from keyferry.contracts.ids import ChosenModel, ProviderName
from services.console.bodies import Body, GivenMoment, QueryParameters


class MarginQuery(QueryParameters):
    """The period of a margin report."""

    since: GivenMoment | None = None
    """Inclusive; UTC without a zone. Null for 30 days ago."""
    until: GivenMoment | None = None
    """Exclusive; UTC without a zone. Null for now."""


class ComplianceQuery(QueryParameters):
    """The span of a compliance report."""

    since: GivenMoment | None = None
    """Inclusive; UTC without a zone. Null for 30 days before its end."""
    until: GivenMoment | None = None
    """Exclusive; UTC without a zone. Null for now."""


class RerateBody(Body):
    """Attempts that were charged by a wrong price."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "rerate_id": "gpt-5-mini-november",
                    "provider": "openai",
                    "model": "gpt-5-mini",
                    "since": "2026-11-01T00:00:00Z",
                    "reason": "the price of input was wrong",
                    "dry_run": True,
                }
            ]
        }
    )

    rerate_id: RerateId
    """Your name for it: repeating it has no further effect."""
    provider: ProviderName
    model: ChosenModel
    """The provider's own name for it."""
    since: GivenMoment
    """Only attempts that began then or later."""
    reason: RerateReason
    dry_run: StrictBool = False
    """Whether only to say what would be corrected."""
