"""`keyferry login`: signs in at a console, with its identity provider or with the installation's login key."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from keyferry.cli.console_http import console_url, error_of, send
from keyferry.cli.installation import find_home
from keyferry.cli.problem import Problem
from keyferry.cli.session_file import SavedSession, save
from keyferry.contracts import sign_in_code
from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from keyferry.contracts.envelope import describe
from keyferry.contracts.secret import Secret
from keyferry.contracts.text import printable
from keyferry.runtime.process.settings import read_random_secret

_LOGIN_KEY = Path("secrets", "login-key")
_LONGEST_WAIT_SECONDS = 3600
_SLOWER_SECONDS = 5


@click.command()
@click.option("--url", help="The console's address (default: KEYFERRY_URL, or the installation here)")
@click.option("--as", "email", metavar="EMAIL", help="Who signs in, with the built-in login")
@click.option("--tenant", help="The tenant to be a member of, with the built-in login")
@click.option(
    "--role",
    type=click.Choice([role.value for role in TENANT_ROLES]),
    default=AccessRole.OWNER.value,
    show_default=True,
    help="The role there",
)
@click.option("--operator", is_flag=True, help="Operate the installation, with the built-in login")
@click.option("--browser", is_flag=True, help="Print a link that signs a browser in, with the built-in login")
def command(url: str | None, email: str | None, tenant: str | None, role: str, operator: bool, browser: bool) -> None:
    """Sign in, so that other commands work for you over HTTP."""
    address = console_url(url)
    status, content = send(address, "GET", "/auth/methods")
    methods = content.get("methods") if status == 200 else None
    if not isinstance(methods, list):
        raise Problem(f"{address} is no console of Keyferry, or one of an earlier version", "Check the address")
    if "code" in methods:
        _sign_in_by_code(address, email, tenant, role, operator, browser)
    elif "device" in methods:
        if email or tenant or operator or browser:
            raise Problem(
                f"{address} has an identity provider, which says who you are and what you may do",
                "Run `keyferry login` without --as, --tenant, --operator and --browser",
            )
        _sign_in_by_device(address)
    else:
        raise Problem(
            f"nobody can sign in at {address}",
            "Its operator sets KEYFERRY_OIDC_ISSUER, or on one's own machine KEYFERRY_LOGIN_KEY_FILE",
        )


def _sign_in_by_code(
    address: str, email: str | None, tenant: str | None, role: str, operator: bool, browser: bool
) -> None:
    if email is None or (tenant is None and not operator):
        raise Problem(
            "the built-in login needs to know who signs in, and for what",
            "For example: keyferry login --as you@example.com --tenant demo --role owner",
        )
    try:
        code = sign_in_code.mint(
            _login_key(),
            email=email,
            tenant=tenant,
            role=AccessRole(role) if tenant else None,
            operator=operator,
            now_seconds=time.time(),
        )
    except ValidationError as error:
        raise Problem(f"nobody can sign in like that: {describe(error)}", "Correct --as and --tenant") from None
    if browser:
        click.echo(f"{address}/auth/code#{code.reveal()}")
        click.echo(
            f"Open this link within {sign_in_code.CODE_SECONDS // 60} minutes, on this machine. It works once.",
            err=True,
        )
        return
    status, content = send(address, "POST", "/auth/code", body={"code": code.reveal()})
    if status != 200:
        raise Problem(error_of(content)[1], "Is this the login key of that console?")
    _keep(address, content)


def _login_key() -> Secret:
    """Return the key of the built-in login. Raises Problem, and SettingsError for a file that cannot be one."""
    named, home = os.environ.get("KEYFERRY_LOGIN_KEY_FILE"), find_home(os.environ)
    path = Path(named) if named else home / _LOGIN_KEY if home else None
    if path is None or not path.is_file():
        raise Problem(
            "the login key of this installation is not here",
            "Run `keyferry login` where `make up` runs, or name the file in KEYFERRY_LOGIN_KEY_FILE",
        )
    return read_random_secret(path, "the login key")


def _sign_in_by_device(address: str) -> None:
    status, login = send(address, "POST", "/auth/device")
    if status != 200:
        raise Problem(error_of(login)[1], "Sign in with a browser instead: open /auth/login at the console")
    click.echo(f"Open {printable(str(login['verification_uri_complete'] or login['verification_uri']))}", err=True)
    click.echo(f"and enter the code {printable(str(login['user_code']))}", err=True)
    interval = int(login["interval"])
    ends_at = time.monotonic() + min(int(login["expires_in"]), _LONGEST_WAIT_SECONDS)
    while time.monotonic() < ends_at:
        time.sleep(interval)  # the provider says how often it may be asked (RFC 8628, section 3.5)
        body = {"device_code": login["device_code"]}
        status, content = send(address, "POST", "/auth/device/token", body=body)
        if status == 200:
            _keep(address, content)
            return
        code, message = error_of(content)
        if code == "slow_down":
            interval += _SLOWER_SECONDS
        elif code != "authorization_pending" and status not in (429, 503):
            raise Problem(f"you are not signed in: {printable(message)}", "Run `keyferry login` again")
    raise Problem("the code has expired before you have signed in", "Run `keyferry login` again")


def _keep(address: str, content: Mapping[str, Any]) -> None:
    save(SavedSession(address, Secret(str(content["session_token"]))))
    click.echo(f"Signed in at {address} as {printable(str(content.get('email') or content.get('name')))}.")
