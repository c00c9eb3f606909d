"""A running ledger with tenants and keys, and what it publishes about alerts."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.usage_ledger.alerts.alert_ledger import AlertLedger, alert_ledger
from tests.integration.usage_ledger.processes import LedgerServers


@pytest.fixture
async def ledger(servers: LedgerServers) -> AsyncIterator[AlertLedger]:
    """Provide a ledger in this process, with the tenants acme and globex."""
    async with alert_ledger(servers) as found:
        yield found
