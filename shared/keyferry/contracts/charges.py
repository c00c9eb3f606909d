"""Free requests, what the platform earns, and corrections of attempts that were charged by a wrong price. Pure."""

from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import Actor, ProviderName, TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.text import Count, Explanation, Identifier, Line, Moment, Refusing

RerateId = Annotated[str, Refusing(100, pattern=r"^[A-Za-z0-9_.:-]+$", form="A-Z a-z 0-9 _ . : and -", no_key=True)]
"""The caller's name for one re-rating: repeating it has no effect."""
RerateReason = Annotated[str, Refusing(300, no_key=True, visible=True)]
MAX_RERATED_TENANTS = 1000


class GetAllowance(Command):
    """Request how many free requests a tenant has left in this month."""

    tenant: TenantId


class AllowanceState(Message):
    """The free requests of a tenant in the current calendar month (UTC)."""

    tenant: TenantId
    month: Identifier
    requests: Count
    """How many there are; 0 if the tier has none."""
    used: Count
    held: Count
    """Set aside by routers for requests that run or may come; what is not used is free again."""
    left: Count
    resets_at: Moment
    notice: Explanation | None = None
    """What a person should know once most of them are used."""


class GetMargin(Command):
    """Request what attempts have cost the platform and what it has earned with them."""

    since: Moment
    until: Moment | None = None
    """Exclusive; null for now."""


class MarginRow(Message):
    """The attempts of one tier and level; null where it is not recorded."""

    tier: Tier | None = None
    level: PowerLevel | None = None
    attempts: Count
    unpriced: Count
    """Attempts whose cost is unknown; they are in no amount."""
    free: Count
    """Attempts that a free allowance covered: they have a cost and no revenue."""
    provider_cost_usd: Usd
    """With the platform's keys."""
    revenue_usd: Usd
    """What tenants' credits paid, fees for their own keys included."""
    absorbed_usd: Usd
    """What tenants would have paid beyond what was held for the attempt."""
    margin_usd: Usd
    """The revenue without the cost."""


class PlanShare(Message):
    """A tier and a level whose charge is less than the provider's cost."""

    tier: Tier
    level: PowerLevel
    share_of_cost: Usd


class Margin(Message):
    """What the platform has paid and earned, by tier and level."""

    since: Moment
    until: Moment
    plan_version: Line
    rows: list[MarginRow]
    total: MarginRow
    below_cost: list[PlanShare]
    """By the billing plan in force."""


class RerateAttempts(Command):
    """Compare recorded attempts with the prices and the plan in force now, and correct what tenants paid."""

    rerate_id: RerateId
    provider: ProviderName
    model: Line
    """The provider's own name for it, as sent or as served."""
    since: Moment
    dry_run: bool = False
    """Whether only to say what would be corrected."""
    reason: RerateReason
    actor: Actor = "operator"


class RerateAmounts(Message):
    """What a re-rating corrects."""

    examined: Count
    """Attempts of the model since the given moment."""
    corrected: Count
    """Attempts whose cost or charge differs."""
    unknown: Count
    """Attempts for which there is no price now, or whose usage is not known: they stay as they are."""
    cost_difference_usd: Usd
    """By how much the providers' cost is higher; negative if it is lower."""
    charged_usd: Usd
    """What tenants' credits pay in addition."""
    refunded_usd: Usd
    """What they get back."""
    absorbed_usd: Usd
    """What their credits could not bear: the platform bears it."""


class RerateTenant(RerateAmounts):
    """What a re-rating corrects of one tenant."""

    tenant: TenantId


class Rerating(Message):
    """What a re-rating has done or would do."""

    rerate_id: RerateId
    provider: ProviderName
    model: Line
    since: Moment
    until: Moment
    """Attempts that began later are not part of it."""
    dry_run: bool
    repeated: bool
    """It had been done before, and has had no effect now."""
    plan_version: Line
    total: RerateAmounts
    tenants: Annotated[list[RerateTenant], Field(max_length=MAX_RERATED_TENANTS)]
    """Those with the largest corrections, if there are more than a thousand."""
