"""`keyferry logout`."""

import click

from keyferry.cli.console_http import console_url, send
from keyferry.cli.problem import Problem
from keyferry.cli.session_file import load, remove


@click.command()
@click.option("--url", help="The console's address (default: KEYFERRY_URL, or the installation here)")
def command(url: str | None) -> None:
    """Sign out: end the session at the console, and forget it here."""
    address = console_url(url)
    session = load(address)
    if session is None:
        raise Problem(f"you are not signed in at {address}", "There is nothing to do")
    status, _ = send(address, "POST", "/auth/logout", token=session.token.reveal())
    if status not in (200, 401):  # 401: it has ended already
        raise Problem(f"{address} has not ended the session (HTTP {status})", "Try again in a moment")
    remove(address)
    click.echo(f"Signed out at {address}.")
