"""What a request would cost before it is sent: by level, for the named model, and by whose key pays. Pure."""

from pydantic import Field

from keyferry.contracts.chat import OwnKeys
from keyferry.contracts.credit import Amount
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.ids import ChosenModel, Operation, Reference, TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.text import Count, Explanation, Line
from keyferry.contracts.usage import KeySource, RequestKind


class EstimateCost(Command):
    """Request an estimate. Nothing is sent to a provider, nothing is reserved, and no decision is recorded."""

    tenant: TenantId
    model: ChosenModel
    """The caller's name for it, which may be a level, `auto` or `default`."""
    kind: RequestKind = RequestKind.CHAT
    features: RequestFeatures = RequestFeatures()
    power_level: PowerLevel | None = None
    prefer_own_keys: OwnKeys | None = None
    operation: Operation | None = None
    team: Reference | None = None
    member: Reference | None = None


class EstimatedCost(Message):
    """The range for one source of keys.

    The low end is an answer of expected length at the cheapest place, the high end the longest answer at the dearest one.
    """

    key_source: KeySource
    low_cost_usd: Usd
    """What the provider takes."""
    high_cost_usd: Usd
    low_charge_micro_usd: Amount
    """What the tenant's credits pay."""
    high_charge_micro_usd: Amount
    low_credits: Usd
    """The same in credits, of which 1000 are a dollar."""
    high_credits: Usd


class EstimatedChoice(Message):
    """A model and what it would cost."""

    level: PowerLevel
    """The level whose multiplier applies."""
    model: Line | None = None
    """None if there is none; `detail` then says why."""
    detail: Explanation
    expected_output_tokens: Count = 0
    longest_output_tokens: Count = 0
    costs: list[EstimatedCost] = Field(default_factory=list)
    """Without the sources of keys for which no place has a list price."""


class CostEstimate(Message):
    """What a request would cost."""

    tenant: TenantId
    model_asked: Line
    input_tokens: Count
    plan_version: Line
    monthly_free_requests: Count = 0
    """So many requests of a calendar month on the platform's keys cost a tenant of this tier nothing."""
    named: EstimatedChoice
    """What would answer the request as it is."""
    levels: list[EstimatedChoice]
    """What each level would choose, the cheapest level first; none for embeddings, whose model is always named."""
