"""The stores that lease and settle credit."""

import itertools

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.usage_ledger.credit.ledger import CreditLedger

_numbers = itertools.count(1)


@pytest.fixture
def ledger(engine: AsyncEngine) -> CreditLedger:
    """Provide the ledger's stores, for a tenant without credits."""
    return CreditLedger(engine, f"tenant-{next(_numbers)}")
