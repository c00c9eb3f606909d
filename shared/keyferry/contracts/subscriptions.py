"""Subscriptions to a tier, paid through Stripe. Pure."""

from enum import StrEnum

from pydantic import StrictBool, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.credit_management import IdempotencyKey
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.purchases import ReturnPath
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant, Tier
from keyferry.contracts.text import Explanation, Identifier, Moment, Url


class SubscriptionOffer(Message):
    """A tier that is sold by the month."""

    tier: Tier
    price_usd: Usd
    """A month."""


class SubscriptionState(StrEnum):
    """What Stripe and the installation make of a subscription."""

    NONE = "none"
    PENDING = "pending"
    """Its first payment is not complete."""
    ACTIVE = "active"
    GRACE = "grace"
    """A payment failed; the tier stays until `grace_until`."""
    ENDING = "ending"
    """It was cancelled and ends with its period."""
    ENDED = "ended"


class Subscription(Message):
    """A tenant's subscription."""

    tenant: TenantId
    configured: bool
    """Whether this installation takes payments."""
    offers: list[SubscriptionOffer]
    state: SubscriptionState
    tier: Tier | None = None
    """The tier that is paid for; null without a subscription."""
    next_tier: Tier | None = None
    """A lower tier that begins with the next period."""
    period_ends_at: Moment | None = None
    grace_until: Moment | None = None
    tier_of_tenant: Tier | None = None
    """The tier that applies; null while the tenant directory does not answer."""
    set_by_operator: bool = False
    """Whether an operator has set the tenant's tier: it stays as it is, whatever the subscription pays for."""
    subscription: Identifier | None = None
    """Stripe's id."""
    detail: Explanation | None = None
    """What a person should know or do."""


class GetSubscription(Command):
    """Request a tenant's subscription. Stripe is asked if there is one."""

    tenant: TenantId


class StartSubscription(Command):
    """Open a page of Stripe on which a tenant subscribes to a tier."""

    tenant: TenantId
    tier: Tier
    return_path: ReturnPath
    idempotency_key: IdempotencyKey
    actor: Actor = "operator"

    @model_validator(mode="after")
    def _refuse_platform(self) -> "StartSubscription":
        if self.tenant == PLATFORM_TENANT:
            raise PydanticCustomError("tenant", "the platform has no subscription: name a tenant")
        return self


class SubscriptionPage(Message):
    """The page on which a subscription is paid."""

    tenant: TenantId
    tier: Tier
    url: Url
    expires_at: Moment


class ChangeSubscription(Command):
    """Change to another tier: a higher one at once and with its share of the price, a lower one with the next period."""

    tenant: TenantId
    tier: Tier
    actor: Actor = "operator"


class CancelSubscription(Command):
    """End a subscription with its period; with `undo` it goes on."""

    tenant: TenantId
    undo: StrictBool = False
    actor: Actor = "operator"


class ApplySubscription(Message):
    """Give a tenant the tier of its subscription, unless an operator has set its tier."""

    tenant: TenantId
    tier: Tier | None = None
    """Null: the subscription has ended."""
    without: Tier
    """The tier of a tenant whose subscription has ended."""
    actor: Actor = "billing"


class AppliedSubscription(Message):
    """The tenant, and whether its tier is that of the subscription now."""

    tenant: Tenant
    applied: bool
    """If not, an operator has set the tier."""
