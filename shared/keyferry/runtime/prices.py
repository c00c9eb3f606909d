"""Loads the price file that a service's settings name."""

from pathlib import Path

from keyferry.pricing.file import BadPriceFile, PriceList
from keyferry.runtime.process.settings import SettingsError


def load_prices(path: Path) -> PriceList:
    """Load the prices of the file at `path`, with the price package behind them.

    Raises SettingsError with the file and what is wrong with it.
    """
    try:
        return PriceList.parse(path.read_text(encoding="utf-8"), with_package=True)
    except OSError as error:
        raise SettingsError(f"cannot read the price file {path}: {error.strerror}; set KEYFERRY_PRICE_FILE") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the price file {path} is not UTF-8 text") from None
    except BadPriceFile as error:
        raise SettingsError(f"the price file {path} cannot be used: {error}") from None
