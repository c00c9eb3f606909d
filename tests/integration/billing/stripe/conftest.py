"""For payments: an installation per test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.billing.stripe.installation import PaymentInstallation, payment_installation


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[PaymentInstallation]:
    """Provide a running installation."""
    async with payment_installation(tmp_path) as found:
        yield found
