"""Every projection that an operator can check and rebuild."""

from sqlalchemy.ext.asyncio import AsyncEngine

from services.usage_ledger.accounts.rebuild import AccountBalances, AccountDays
from services.usage_ledger.analytics.rebuild import RollupRebuild, UsageRollups
from services.usage_ledger.budgets.rebuild import BudgetSpendingRebuild
from services.usage_ledger.key_spending_rebuild import KeySpendingRebuild
from services.usage_ledger.projections.registry import Rebuildable


def known_projections(engine: AsyncEngine, rollups: RollupRebuild) -> list[Rebuildable]:
    """Return them in the order in which they are checked: those of all attempts last."""
    of_attempts: list[Rebuildable] = [KeySpendingRebuild(engine), BudgetSpendingRebuild(engine), UsageRollups(rollups)]
    return [AccountBalances(engine), AccountDays(engine), *of_attempts]
