"""Settings of the usage ledger."""

from pathlib import Path

from keyferry.runtime.settings import DatabaseSettings
from services.usage_ledger.prices import BUNDLED_PRICES


class LedgerSettings(DatabaseSettings):
    """What the usage ledger needs."""

    price_file: Path = BUNDLED_PRICES
    """List prices, as in the bundled `prices.toml`."""
