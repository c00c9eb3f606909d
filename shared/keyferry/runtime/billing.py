"""Loads the billing file that a service's settings name."""

from pathlib import Path

from keyferry.billing.plan import BadBillingFile, BillingPlan
from keyferry.runtime.process.settings import SettingsError


def load_plan(path: Path) -> BillingPlan:
    """Load the billing plan of the file at `path`. Raises SettingsError with the file and what is wrong with it."""
    try:
        return BillingPlan.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"cannot read the billing file {path}: {error.strerror}; set KEYFERRY_BILLING_FILE"
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"the billing file {path} is not UTF-8 text") from None
    except BadBillingFile as error:
        raise SettingsError(f"the billing file {path} cannot be used: {error}") from None
