"""What is known of a tenant when its alert rules are evaluated. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from zoneinfo import ZoneInfo

from keyferry.contracts.alert_references import MissingReference
from keyferry.contracts.budget import BudgetState
from keyferry.contracts.charges import AllowanceState
from keyferry.contracts.health import Outage
from keyferry.contracts.key import KeyFacts
from services.usage_ledger.alerts.tenant_usage import TenantUsage


@dataclass(frozen=True, slots=True)
class WatchedCredits:
    """What a tenant that ever had credits has of them, in credits."""

    balance: Decimal
    low_below: Decimal
    days_left: int | None


@dataclass(frozen=True, slots=True)
class ReportedCondition:
    """What another service says that is so."""

    metric: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFacts:
    """The figures of one tenant at one moment."""

    zone: ZoneInfo
    credits: WatchedCredits | None = None
    allowance: AllowanceState | None = None
    budgets: Sequence[BudgetState] = ()
    keys: Sequence[KeyFacts] = ()
    keys_are_known: bool = True
    """Whether the vault's keys have arrived: until then nothing is said about them."""
    keys_are_all: bool = True
    """Whether a key that is not among them does not exist: the copy misses nothing, and every entry can be read."""
    missing: Sequence[MissingReference] = ()
    """What others say that does not exist; nobody is asked for an evaluation."""
    outages: Sequence[Outage] = ()
    """Those that last."""
    reports: Sequence[ReportedCondition] = ()
    usage: TenantUsage = field(default_factory=TenantUsage)
