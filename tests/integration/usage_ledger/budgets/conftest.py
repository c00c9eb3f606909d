"""The stores of budgets; each test uses a tenant of its own."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.usage_ledger.budgets.ledger import BudgetLedger


@pytest.fixture
def ledger(engine: AsyncEngine) -> BudgetLedger:
    """Provide the stores of a ledger process."""
    return BudgetLedger(engine)
