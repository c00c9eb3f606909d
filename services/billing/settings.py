"""Settings of the billing."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.lago import ExternalId
from keyferry.contracts.text import Url
from keyferry.runtime.billing import load_plan
from keyferry.runtime.process.settings import DatabaseSettings, Networks, SecretFile, SettingsError, read_secret

_DEPLOYMENT_ID = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
_UNNAMED = "default"


def _check_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("want the address of an API, as https://api.example.com")
    if parts.username or parts.password:
        raise ValueError(
            "an address has no user name and password: keys belong into the vault"
            " (`keyferry integrations add KIND --tenant platform`)"
        )
    return url.rstrip("/")


ApiAddress = Annotated[Url, AfterValidator(_check_address)]
"""The address of an installation of another company's API, as its operator names it."""


class BillingSettings(DatabaseSettings):
    """Settings of a billing process."""

    egress_allow: Networks = ()
    """Networks, beside public addresses, that providers may be asked for usage in: the same as the worker's."""
    lago_url: ApiAddress | None = None
    """The address of Lago, without `/api/v1`. Without it nothing is reported there."""
    lago_plan: ExternalId | None = None
    """The code of the plan in Lago of tenants that have no customer there yet. Without it they are left out."""
    billing_file: Path = BUNDLED_PLAN
    """What tenants are charged and can buy: the same file as the router's and the usage ledger's."""
    deployment_id_file: SecretFile | None = None
    """The name of this installation, the same as the key vault has: it marks what is ours at Stripe. Without it: `default`."""
    stripe_url: ApiAddress = "https://api.stripe.com"
    """The address of Stripe's API."""
    public_url: ApiAddress = "http://127.0.0.1:8401"
    """Where browsers reach the console: Stripe's pages send them back there."""

    def check_files(self) -> None:
        """Check the name of the installation and the billing file. Raises SettingsError."""
        super().check_files()
        _ = self.deployment_id, self.plan()

    @property
    def deployment_id(self) -> str:
        """The name of this installation. Raises SettingsError."""
        if self.deployment_id_file is None:
            return _UNNAMED
        name = read_secret(self.deployment_id_file).reveal()
        if not _DEPLOYMENT_ID.fullmatch(name):
            raise SettingsError(
                f"{self.deployment_id_file}: an installation's name is 1 to 100 of A-Z a-z 0-9 . _ -: restore it from a backup"
            )
        return name

    def plan(self) -> BillingPlan:
        """Return what is sold. Raises SettingsError."""
        return load_plan(self.billing_file)
