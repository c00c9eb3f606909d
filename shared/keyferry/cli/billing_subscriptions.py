"""`keyferry billing`: subscriptions to a tier."""

import click

from keyferry.cli.billing_purchases import KEY_HELP, RETURN_HELP, STRIPE_SECONDS
from keyferry.cli.connection import run
from keyferry.cli.terminal import format_time, format_usd, json_option
from keyferry.contracts import ids
from keyferry.contracts.purchase_management import (
    SUBSCRIPTION_CANCEL,
    SUBSCRIPTION_CHANGE,
    SUBSCRIPTION_GET,
    SUBSCRIPTION_START,
)
from keyferry.contracts.subscriptions import (
    CancelSubscription,
    ChangeSubscription,
    GetSubscription,
    StartSubscription,
    Subscription,
)
from keyferry.contracts.tenancy import Tier

_TIER = click.Choice([tier.value for tier in Tier])


@click.command()
@click.argument("tenant")
@json_option
def subscription(tenant: str, as_json: bool) -> None:
    """Show the subscription of TENANT, and the tiers that are sold."""
    query = GetSubscription(tenant=tenant)
    found = run(lambda me: me.ask(SUBSCRIPTION_GET, query, timeout_seconds=STRIPE_SECONDS), tenant=tenant)
    _show(found, as_json)


@click.command()
@click.argument("tenant")
@click.argument("tier", type=_TIER)
@click.option("--return-path", default="/", show_default=True, help=RETURN_HELP)
@click.option("--idempotency-key", help=KEY_HELP)
@json_option
def subscribe(tenant: str, tier: str, return_path: str, idempotency_key: str | None, as_json: bool) -> None:
    """Open a page of Stripe on which TENANT subscribes to TIER, and print its address."""
    command = StartSubscription(
        tenant=tenant, tier=Tier(tier), return_path=return_path, idempotency_key=idempotency_key or ids.new("cli")
    )
    made = run(lambda me: me.ask(SUBSCRIPTION_START, command, timeout_seconds=STRIPE_SECONDS), tenant=tenant)
    until = format_time(made.expires_at)
    click.echo(made.model_dump_json(indent=2) if as_json else f"pay for {made.tier} at {made.url} (until {until})")


@click.command("change-subscription")
@click.argument("tenant")
@click.argument("tier", type=_TIER)
@json_option
def change_subscription(tenant: str, tier: str, as_json: bool) -> None:
    """Change the tier that TENANT pays for: a higher one at once, a lower one when the paid period ends."""
    command = ChangeSubscription(tenant=tenant, tier=Tier(tier))
    _show(run(lambda me: me.ask(SUBSCRIPTION_CHANGE, command, timeout_seconds=STRIPE_SECONDS), tenant=tenant), as_json)


@click.command("cancel-subscription")
@click.argument("tenant")
@click.option("--undo", is_flag=True, help="Let it go on after all.")
@json_option
def cancel_subscription(tenant: str, undo: bool, as_json: bool) -> None:
    """End the subscription of TENANT when its paid period ends."""
    command = CancelSubscription(tenant=tenant, undo=undo)
    _show(run(lambda me: me.ask(SUBSCRIPTION_CANCEL, command, timeout_seconds=STRIPE_SECONDS), tenant=tenant), as_json)


COMMANDS = (subscription, subscribe, change_subscription, cancel_subscription)
"""For the group `keyferry billing`."""


def _show(found: Subscription, as_json: bool) -> None:
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(describe_subscription(found)))


def describe_subscription(found: Subscription) -> list[str]:
    """Return the lines about a subscription."""
    paid = "pays for no tier" if found.tier is None else f"pays for {found.tier}"
    lines = [f"{found.tenant} {paid} ({found.state}); its tier is {found.tier_of_tenant or 'not known'}"]
    if found.next_tier is not None:
        lines.append(f"  then     {found.next_tier}")
    if found.period_ends_at is not None:
        lines.append(f"  paid to  {format_time(found.period_ends_at)}")
    if found.grace_until is not None:
        lines.append(f"  grace    a payment failed; the tier stays until {format_time(found.grace_until)}")
    if found.detail:
        lines.append(f"  note     {found.detail}")
    return [*lines, *(f"  sold     {offer.tier} for {format_usd(offer.price_usd)} a month" for offer in found.offers)]
