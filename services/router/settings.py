"""Settings of the router."""

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.fallback import MAX_RETRIES
from keyferry.pricing.file import BUNDLED_PRICES
from keyferry.runtime.billing import load_plan
from keyferry.runtime.byok import ByokSettings
from keyferry.runtime.prices import load_prices
from keyferry.runtime.process.settings import DatabaseSettings, Networks
from keyferry.runtime.tiers import load_tiers
from keyferry.tiers.file import BUNDLED_TIERS


class RouterSettings(DatabaseSettings, ByokSettings):
    """Settings of a router process. The database holds what tenants configure; no request waits for it."""

    decision_capacity: int = Field(default=50_000, ge=1)
    """Decision records held in memory while the bus cannot store them."""
    egress_allow: Networks = ()
    """The workers' setting: only with networks here may an endpoint's base URL be private, plain http or at any port."""
    max_retries: int = Field(default=MAX_RETRIES, ge=0, le=MAX_RETRIES)
    """Most retries of one candidate within a request; 0 for none."""
    longest_wait_seconds: float = Field(default=30.0, ge=0, le=600)
    """The longest that a request waits for a retry, or for a provider that asked for a pause; 0 for no waiting."""
    tier_file: Path = BUNDLED_TIERS
    """What each tier includes: the same file as the key vault's and the tenant directory's."""
    limits_fail_closed: bool = False
    """Whether requests with limits are refused while the counters on the bus do not answer; otherwise they pass uncounted."""
    price_file: Path = BUNDLED_PRICES
    """Overrides of list prices: the same file as the usage ledger's."""
    credits: Literal["required", "off"] = "required"
    """Whether attempts on the platform's keys are paid in credits; with `off` they are only recorded."""
    billing_file: Path = BUNDLED_PLAN
    """What tenants are charged: the same file as the usage ledger's."""

    @cached_property
    def billing_plan(self) -> BillingPlan:
        """What the billing file says, read once. Raises SettingsError."""
        return load_plan(self.billing_file)

    def check_files(self) -> None:
        """Check the price file, unless it is the bundled one, the tier file and the billing file. Raises SettingsError."""
        super().check_files()
        if self.price_file != BUNDLED_PRICES:
            load_prices(self.price_file)
        load_tiers(self.tier_file)
        _ = self.billing_plan
