"""`keyferry billing`: what tenants buy and pay."""

import click

from keyferry.cli.billing_lago import lago
from keyferry.cli.billing_payments import COMMANDS as PAYMENTS
from keyferry.cli.billing_purchases import COMMANDS as PURCHASES
from keyferry.cli.billing_subscriptions import COMMANDS as SUBSCRIPTIONS


@click.group()
def command() -> None:
    """Buy credits and tiers through Stripe, show payments, and compare them with it."""


for _each in (*PURCHASES, *SUBSCRIPTIONS, *PAYMENTS):
    command.add_command(_each)
command.add_command(lago)
