"""Loads the tier file that a service's settings name."""

from pathlib import Path

from keyferry.runtime.process.settings import SettingsError
from keyferry.tiers.file import BadTierFile, Tiers


def load_tiers(path: Path) -> Tiers:
    """Load the tiers of the file at `path`. Raises SettingsError with the file and what is wrong with it."""
    try:
        return Tiers.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the tier file {path}: {error.strerror}; set KEYFERRY_TIER_FILE") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the tier file {path} is not UTF-8 text") from None
    except BadTierFile as error:
        raise SettingsError(f"the tier file {path} cannot be used: {error}") from None
