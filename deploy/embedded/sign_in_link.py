"""The console's address, with what signs a browser in as an owner of the demo tenant and as operator, where that is possible."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.embedded.home import Home
from deploy.embedded.secret_files import LOGIN_KEY
from deploy.embedded.services import DEMO_TENANT, Addresses, console_origin, has_built_in_login
from keyferry.contracts import sign_in_code
from keyferry.contracts.access_role import AccessRole
from keyferry.runtime.process.settings import read_random_secret

DEMO_OWNER = "owner@demo.localhost"
"""Who signs in with the link of `make up`."""


@dataclass(frozen=True, slots=True)
class ConsoleLink:
    """An address to open in a browser."""

    url: str
    signs_in: bool

    def explain(self) -> str:
        """Return one line about it."""
        if not self.signs_in:
            return "sign in there with the identity provider"
        minutes = sign_in_code.START_CODE_SECONDS // 60
        return f"signs your browser in, once and within {minutes} minutes; `make console` prints another link"


def make_console_link(home: Home, addresses: Addresses, environment: Mapping[str, str]) -> ConsoleLink:
    """Return a link with a new code of the built-in login; the plain address where people sign in otherwise.

    Raises SettingsError for a login key that cannot be one.
    """
    address = console_origin(addresses, environment)
    if not has_built_in_login(addresses, environment):
        return ConsoleLink(f"{address}/", signs_in=False)
    code = sign_in_code.mint(
        read_random_secret(LOGIN_KEY.path(home, 1), "the login key"),
        email=DEMO_OWNER,
        tenant=DEMO_TENANT,
        role=AccessRole.OWNER,
        operator=True,
        now_seconds=time.time(),
        lifetime_seconds=sign_in_code.START_CODE_SECONDS,
    )
    return ConsoleLink(f"{address}/auth/code#{code.reveal()}", signs_in=True)
