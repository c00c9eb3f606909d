"""Reads the price file."""

from pathlib import Path

from keyferry.runtime.settings import SettingsError
from services.usage_ledger.pricing import BadPriceFile, PriceTable

BUNDLED_PRICES = Path(__file__).parent / "prices.toml"


def load_prices(path: Path) -> PriceTable:
    """The prices of the file at `path`, and the price package's behind them.

    Raises SettingsError, which names the file and what is wrong with it.
    """
    try:
        return PriceTable.parse(path.read_text(encoding="utf-8"), with_package=True)
    except OSError as error:
        raise SettingsError(f"cannot read the price file {path}: {error.strerror}; set KEYFERRY_PRICE_FILE") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the price file {path} is not UTF-8 text") from None
    except BadPriceFile as error:
        raise SettingsError(f"the price file {path} cannot be used: {error}") from None
