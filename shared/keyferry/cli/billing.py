"""`keyferry billing`: what tenants buy and pay."""

import click

from keyferry.cli.billing_lago import lago
from keyferry.cli.billing_payments import COMMANDS as PAYMENTS


@click.group()
def command() -> None:
    """Show payments, check them against Stripe, and replay its events."""


for _each in PAYMENTS:
    command.add_command(_each)
command.add_command(lago)
