"""`keyferry whoami`."""

import json

import click

from keyferry.cli.console_http import console_url, error_of, send
from keyferry.cli.problem import Problem
from keyferry.cli.session_file import load
from keyferry.cli.terminal import json_option
from keyferry.contracts.text import printable


@click.command()
@click.option("--url", help="The console's address (default: KEYFERRY_URL, or the installation here)")
@json_option
def command(url: str | None, as_json: bool) -> None:
    """Show who is signed in, and what they may do now."""
    address = console_url(url)
    session = load(address)
    if session is None:
        raise Problem(f"you are not signed in at {address}", "Run `keyferry login`")
    status, who = send(address, "GET", "/api/v1/session", token=session.token.reveal())
    if status == 401:
        raise Problem(error_of(who)[1], "Run `keyferry login` again")
    if status != 200:
        raise Problem(error_of(who)[1])
    if as_json:
        click.echo(json.dumps({name: value for name, value in who.items() if name != "csrf_token"}, indent=2))
        return
    click.echo(f"{printable(str(who['email'] or who['name']))} at {address}")
    for member in who["memberships"]:
        chosen = " (in use)" if member["tenant"] == who["tenant"] else ""
        click.echo(f"  {member['role']} of {member['tenant']}{chosen}")
    if who["operator"]:
        click.echo("  operator of the installation")
