"""Settings of the billing."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from keyferry.contracts.lago import ExternalId
from keyferry.contracts.text import Url
from keyferry.runtime.process.settings import DatabaseSettings, Networks


def _check_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("want the address of an API, as https://api.example.com")
    if parts.username or parts.password:
        raise ValueError(
            "an address has no user name and password: keys belong into the vault (`keyferry integrations`)"
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
