"""What would make a tenant's traffic cheaper, by its own requests of the last days, with the amount and how sure it is. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.credit import Amount
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, ChosenModel, Operation, TenantId
from keyferry.contracts.power_comparison import DAYS_OF_MONTH, MAX_DAYS, Permille, Score
from keyferry.contracts.rules import Rule
from keyferry.contracts.text import Count, Explanation, Identifier, Line, Moment

MAX_RECOMMENDATIONS = 50


class RecommendationKind(StrEnum):
    """What is recommended."""

    CHEAPER_MODEL = "cheaper_model"
    """Another model could have served the same requests for less."""
    OWN_KEY = "own_key"
    """Requests on the platform's keys would have cost less with a key of the tenant's own."""
    PLATFORM_KEY = "platform_key"
    """Requests on the tenant's own keys would have cost less on the platform's."""
    PROMPT_CACHING = "prompt_caching"
    """Prompts of conversations were sent again at the full price."""
    EU_RESIDENCY = "eu_residency"
    """A reminder: how much of the traffic is processed outside of the European Union, and what would change without."""


class Confidence(StrEnum):
    """How sure an amount is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class ListRecommendations(Command):
    """Request what would have made a tenant's traffic of the last days cheaper, planned and priced as it would be now."""

    tenant: TenantId
    days: int = Field(default=DAYS_OF_MONTH, ge=1, le=MAX_DAYS)


class Recommendation(Message):
    """One change and what it would have saved."""

    recommendation_id: Identifier
    """The same for the same change, so that a page can remember what was dismissed."""
    kind: RecommendationKind
    title: Line
    detail: Explanation
    operation: Operation | None = None
    model: Line | None = None
    """What the requests name now."""
    served: Line | None = None
    """`provider/model` that answers most of them now."""
    to_model: ChosenModel | None = None
    """The model of the catalog that is recommended."""
    to_served: Line | None = None
    """`provider/model` that would answer."""
    requests: Count
    """In the days that were looked at."""
    sampled: Count
    """Of which so many were planned and priced again."""
    spend_micro_usd: Amount
    """What these requests come to in the days that were looked at: credits on the platform's keys, list prices on own ones."""
    saved_micro_usd: Amount
    """By how much that would have been less."""
    confidence: Confidence
    confidence_detail: Explanation
    quality: Score | None = None
    """The score of what answers now; null if it is unknown."""
    to_quality: Score | None = None
    p95_ms: Count | None = None
    to_p95_ms: Count | None = None
    permille: Permille | None = None
    """With a reminder: the share of the requests that it is about."""
    rule: Rule | None = None
    """The routing rule that makes the change, ready for the draft; null where a rule cannot make it."""
    action: Explanation
    """What to do."""


class Recommendations(Message):
    """All recommendations, the greatest amount first, and what they were made of."""

    tenant: TenantId
    since: Moment
    until: Moment
    requests: Count
    sampled: Count
    spend_micro_usd: Amount
    """What the requests come to now, at today's prices."""
    recommendations: Annotated[list[Recommendation], Field(max_length=MAX_RECOMMENDATIONS)]
    notes: list[Explanation] = Field(default_factory=list)
    """What was not looked at, and why."""


class DraftRecommendedRule(Command):
    """Put the rule of a recommendation before the others of the tenant's draft; without a draft, of what is published."""

    tenant: TenantId
    rule: Rule
    actor: Actor = "operator"
    """Who does it, for the audit."""
