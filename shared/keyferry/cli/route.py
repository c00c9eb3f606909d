"""`keyferry route`: why a request went where it went."""

import click

from keyferry.cli import explain


@click.group()
def command() -> None:
    """Explain a request's route."""


command.add_command(explain.command, "explain")
