"""A warning at the start about a billing plan that charges less than calls cost."""

import logging

from keyferry.billing.plan import BillingPlan

_log = logging.getLogger(__name__)


async def warn_of_plans_below_cost(plan: BillingPlan) -> None:
    """Log what the plan charges less for than the provider's cost."""
    below = plan.below_cost()
    if below:
        _log.warning(
            "the billing plan %s charges less than the provider's cost for: %s; `keyferry ledger margin` shows what it"
            " costs, `floor = true` in the file of KEYFERRY_BILLING_FILE makes the cost the minimum",
            plan.version,
            "; ".join(map(str, below)),
        )
