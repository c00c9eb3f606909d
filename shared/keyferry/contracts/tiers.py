"""What each tier includes: limits, features, and the number of provider keys. Pure."""

from enum import StrEnum

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.limits import Limits
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.text import Count, Identifier


class Feature(StrEnum):
    """What a tier can include besides models and limits. The gateway enforces those in ENFORCED; the rest is only listed."""

    BYOK = "byok"
    """Provider keys of its own."""
    RULES = "rules"
    """Routing rules of its own."""
    RECOMMENDATIONS = "recommendations"
    """Recommendations of what would cost less, from the tenant's own traffic."""
    KEY_MANAGEMENT_API = "key_management_api"
    """Permission by the operator to manage provider keys with programs."""
    SUPPORT = "support"
    """Support by the operator."""


ENFORCED = frozenset({Feature.BYOK, Feature.RULES, Feature.RECOMMENDATIONS})
"""Features that a tenant cannot use without them in its tier. Of the others the gateway knows nothing but the name."""


class TierFacts(Message):
    """What one tier includes."""

    tier: Tier
    limits: Limits
    """Every field is set: a number, or `unlimited`."""
    keys_per_provider: Count | None = None
    """How many provider keys of its own a tenant may have per provider; null is any number."""
    features: list[Feature] = Field(default_factory=list)


class TierTable(Message):
    """All tiers of this installation, lowest first."""

    version: Identifier
    tiers: list[TierFacts]


class GetTiers(Command):
    """Request the tiers."""
