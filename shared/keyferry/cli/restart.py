"""`keyferry restart`."""

import click

from keyferry.cli import control
from keyferry.cli.installation import locate
from keyferry.cli.member_connection import require_operator

_LINE_SECONDS = 180.0
"""A process may drain for as long as its longest answer; a line arrives at least at each step."""


@click.command()
@click.argument("service")
def command(service: str) -> None:
    """Replace the processes of SERVICE: the successor is ready before the old process drains, so no request is lost."""
    require_operator("the launcher takes commands on its own machine")
    for line in control.send_command(locate().run_dir, {"command": "restart", "service": service}, _LINE_SECONDS):
        if line.progress is not None:
            click.echo(line.progress)
    click.echo(f"{service}: restarted")
