"""A database and a double of Stripe for each test of purchases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.billing_demo.stripe.server import DEMO_API_KEY
from tests.integration.billing.purchases.shop import SecretsByScript, Shop
from tests.support.billing.stripe_double import running_stripe
from tests.support.servers.migrated_database import migrated_database


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """Provide purchases of one tenant, with a key of Stripe."""
    database = migrated_database(tmp_path / "database", "billing")
    async with running_stripe() as stripe:
        made = Shop(database.url_files["billing"], stripe, SecretsByScript(DEMO_API_KEY))
        made.add_tenant()
        yield made
