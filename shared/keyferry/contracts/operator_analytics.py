"""What operators ask about all tenants together. Pure.

What the ledger cannot know is not in it: who signed up elsewhere, tenants that never sent a request by their tier, keys that were
stored before the audit log began. Tenants whose creation is not in the audit log, such as those that an installation begins with,
are in no median.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from keyferry.contracts.analytics import AnalyticsQuery
from keyferry.contracts.analytics_answers import AnalyticsAnswer, UsageSavings
from keyferry.contracts.envelope import Message
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.money import Usd
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.text import Count
from keyferry.contracts.usage import KeySource

Permille = Annotated[int, Field(strict=True, ge=0, le=1000)]


class AnalyzeInstallation(AnalyticsQuery):
    """Request figures about all tenants together, in a span."""

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        if self.tenant is not None or self.filters or self.tags:
            raise ValueError("it is about all tenants and all attempts: leave out tenant, filters and tags")
        return self


class UsageShare(Message):
    """A part of all requests. A request counts under its first attempt."""

    tenants: Count
    """Those with an attempt in this part."""
    requests: Count
    attempts: Count
    requests_permille: Permille | None = None
    """Of all requests; null if there are none."""


class KeySourceShare(UsageShare):
    """The requests whose first attempt was on keys of one source."""

    key_source: KeySource


class TierAdoption(Message):
    """How many tenants of a tier use own keys. A tenant that changed its tier is in both."""

    tier: Tier | None = None
    """Null for attempts from before tiers were recorded."""
    tenants: Count
    """Those with any attempt."""
    tenants_with_own_keys: Count
    """Those with an attempt on a key or server of their own."""
    adoption_permille: Permille
    requests: Count
    own_key_requests: Count


class Onboarding(Message):
    """How soon the tenants that were created in the span came to use the gateway."""

    tenants_created: Count
    """By the audit log."""
    with_own_key: Count
    """Those that have added a key of their own since."""
    with_request: Count
    """Those that have sent a request since, as far as its attempt or its quarter hour is still recorded."""
    median_seconds_to_key: Count | None = None
    """Of those with a key; null if there are none."""
    median_seconds_to_request: Count | None = None


class ModelDiversity(Message):
    """How many models completed attempts are spread over."""

    models: Count
    effective_models_permille: Count
    """The number of equally used models with the same diversity, exp(Shannon entropy), in thousandths."""
    attempts: Count


class FailedClass(Message):
    """How many attempts failed with one class of error."""

    error_class: FailureClass | None = None
    failed: Count


class OwnKeyFailures(Message):
    """How attempts on tenants' own keys and servers failed."""

    attempts: Count
    failed: Count
    failed_permille: Permille | None = None
    classes: list[FailedClass]


class PlatformKeyMargin(Message):
    """What the platform's keys cost and earned. Later corrections are in `ledger margin`, not here."""

    attempts: Count
    cost_usd: Usd | None = None
    unpriced: Count
    """Attempts of unknown cost, which also have no charge."""
    charge_micro_usd: Count
    absorbed_micro_usd: Count
    margin_usd: Usd | None = None
    """Charges, and fees for own keys, minus the known cost; null like the cost."""
    own_key_fee_micro_usd: Count


class InstallationAnalytics(AnalyticsAnswer):
    """Figures about all tenants together."""

    tenants: Count
    """Those with an attempt in the span."""
    requests: Count
    attempts: Count
    key_sources: list[KeySourceShare]
    tiers: list[TierAdoption]
    openrouter: UsageShare
    onboarding: Onboarding
    models: ModelDiversity
    own_keys: OwnKeyFailures
    margin: PlatformKeyMargin
    savings: UsageSavings
    """Of all tenants' own keys; read a moment later than the rest."""
