"""`keyferry billing`: packages, checkouts and automatic top-ups."""

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, format_time, format_usd, json_option
from keyferry.contracts import ids
from keyferry.contracts.money import plain
from keyferry.contracts.purchase_management import (
    CHECKOUT_CANCEL,
    CHECKOUT_CREATE,
    CHECKOUT_GET,
    CUSTOMER_GET,
    PACKAGE_LIST,
    PACKAGE_SYNC,
    PURCHASE_LIST,
    TOP_UP_GET,
    TOP_UP_RESUME,
    TOP_UP_SAVE,
)
from keyferry.contracts.purchases import (
    MAX_PURCHASES,
    CancelCheckout,
    CreateCheckout,
    GetCheckout,
    GetCustomer,
    GetTopUp,
    ListPackages,
    ListPurchases,
    Package,
    Packages,
    Purchase,
    PurchaseState,
    ResumeTopUp,
    SaveTopUp,
    SyncAction,
    SyncedPrice,
    SyncPackages,
    TopUp,
)

STRIPE_SECONDS = 30.0
_SYNC_SECONDS = 120.0
RETURN_HELP = "Where on the console the browser goes afterwards."
KEY_HELP = "A name for this purchase: repeating the command with it returns the same page."


@click.command()
@click.argument("tenant")
@json_option
def packages(tenant: str, as_json: bool) -> None:
    """List what TENANT can buy, and what 1000 credits of each package cost."""
    found = run(lambda me: me.ask(PACKAGE_LIST, ListPackages(tenant=tenant)), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(_describe_packages(found)))


@click.command("sync-packages")
@click.option("--dry-run", is_flag=True, help="Only report what differs.")
@json_option
def sync_packages(dry_run: bool, as_json: bool) -> int:
    """Make the products and prices at Stripe equal to the billing file, and report what differed on either side.

    The exit status is 1 if a price was changed at Stripe, which a person has to correct there.
    """
    done = run(lambda me: me.ask(PACKAGE_SYNC, SyncPackages(dry_run=dry_run), timeout_seconds=_SYNC_SECONDS))
    if as_json:
        click.echo(done.model_dump_json(indent=2))
    else:
        heads = ("PRICE", "ACTION", "ID", "DETAIL")
        click.echo(format_table(heads, [_sync_row(each) for each in done.prices], empty="nothing is sold"))
    return 1 if any(each.action is SyncAction.DIFFERENT for each in done.prices) else 0


@click.command()
@click.argument("tenant")
@click.argument("package", required=False)
@click.option("--amount", metavar="USD", help="Any other amount in dollars, in place of a package.")
@click.option("--save", is_flag=True, help="Keep the payment method for automatic top-ups.")
@click.option("--return-path", default="/", show_default=True, help=RETURN_HELP)
@click.option("--idempotency-key", help=KEY_HELP)
@json_option
def buy(
    tenant: str,
    package: str | None,
    amount: str | None,
    save: bool,
    return_path: str,
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    """Open a page of Stripe on which TENANT pays for PACKAGE, such as usd-50, and print its address."""
    if (package is None) == (amount is None):
        raise click.UsageError("give either a package (`keyferry billing packages TENANT` lists them) or --amount")
    command = CreateCheckout.model_validate(
        {
            "tenant": tenant,
            "package": package,
            "price_usd": amount,
            "return_path": return_path,
            "save_payment_method": save,
            "idempotency_key": idempotency_key or ids.new("cli"),
        }
    )
    made = run(lambda me: me.ask(CHECKOUT_CREATE, command, timeout_seconds=STRIPE_SECONDS), tenant=tenant)
    click.echo(made.model_dump_json(indent=2) if as_json else "\n".join(describe_purchase(made)))


@click.command()
@click.argument("tenant")
@click.argument("purchase")
@json_option
def checkout(tenant: str, purchase: str, as_json: bool) -> None:
    """Show how far a purchase of TENANT is; Stripe is asked while it is not finished."""
    query = GetCheckout(tenant=tenant, purchase=purchase)
    found = run(lambda me: me.ask(CHECKOUT_GET, query, timeout_seconds=STRIPE_SECONDS), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(describe_purchase(found)))


@click.command()
@click.argument("tenant")
@click.argument("purchase")
@json_option
def cancel(tenant: str, purchase: str, as_json: bool) -> None:
    """Close the page of a purchase that is not paid, so that it cannot be paid any more."""
    query = CancelCheckout(tenant=tenant, purchase=purchase)
    done = run(lambda me: me.ask(CHECKOUT_CANCEL, query, timeout_seconds=STRIPE_SECONDS), tenant=tenant)
    click.echo(done.model_dump_json(indent=2) if as_json else "\n".join(describe_purchase(done)))


@click.command()
@click.argument("tenant")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, MAX_PURCHASES), help="Purchases to show."
)
@json_option
def purchases(tenant: str, limit: int, as_json: bool) -> None:
    """List the last purchases of TENANT, automatic ones among them, newest first."""
    found = run(lambda me: me.ask(PURCHASE_LIST, ListPurchases(tenant=tenant, limit=limit)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("AT", "PURCHASE", "HOW", "PRICE", "CREDITS", "STATE", "REASON")
    click.echo(format_table(heads, [_purchase_row(each) for each in found.purchases], empty="nothing was bought yet"))


@click.command()
@click.argument("tenant")
@json_option
def customer(tenant: str, as_json: bool) -> None:
    """Show TENANT as a customer at Stripe, and the payment method that automatic top-ups charge."""
    found = run(lambda me: me.ask(CUSTOMER_GET, GetCustomer(tenant=tenant)), tenant=tenant)
    lines = [
        f"{found.tenant} is {found.customer or 'no customer at Stripe yet'}",
        f"  payment method  {found.payment_method or 'none is saved'}",
    ]
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(lines))


@click.command("top-up")
@click.argument("tenant")
@json_option
def top_up(tenant: str, as_json: bool) -> None:
    """Show the automatic top-up of TENANT, and what it does."""
    found = run(lambda me: me.ask(TOP_UP_GET, GetTopUp(tenant=tenant)), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(describe_top_up(found)))


@click.command("set-top-up")
@click.argument("tenant")
@click.option("--threshold", required=True, metavar="CREDITS", help="Pay when so many credits or fewer are available.")
@click.option("--amount", required=True, metavar="USD", help="What each payment takes, in dollars.")
@click.option("--ceiling", required=True, metavar="USD", help="The most that a calendar month may take, in dollars.")
@click.option("--consent", is_flag=True, help="The tenant agrees that its payment method is charged without asking.")
@click.option("--off", is_flag=True, help="Switch it off and keep the terms.")
@json_option
def set_top_up(tenant: str, threshold: str, amount: str, ceiling: str, consent: bool, off: bool, as_json: bool) -> None:
    """Buy credits for TENANT automatically, with its saved payment method, whenever they are low."""
    command = SaveTopUp.model_validate(
        {
            "tenant": tenant,
            "enabled": not off,
            "threshold": threshold,
            "price_usd": amount,
            "monthly_ceiling_usd": ceiling,
            "consent": consent,
        }
    )
    saved = run(lambda me: me.ask(TOP_UP_SAVE, command), tenant=tenant)
    click.echo(saved.model_dump_json(indent=2) if as_json else "\n".join(describe_top_up(saved)))


@click.command("resume-top-up")
@click.argument("tenant")
@json_option
def resume_top_up(tenant: str, as_json: bool) -> None:
    """Let the automatic top-up of TENANT go on after payments failed."""
    found = run(lambda me: me.ask(TOP_UP_RESUME, ResumeTopUp(tenant=tenant)), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(describe_top_up(found)))


COMMANDS = (
    *(packages, sync_packages, buy, checkout, cancel, purchases, customer),
    *(top_up, set_top_up, resume_top_up),
)
"""For the group `keyferry billing`."""


def describe_purchase(purchase: Purchase) -> list[str]:
    """Return the lines about one purchase."""
    lines = [
        f"{purchase.purchase}: {plain(purchase.credits)} credits for {format_usd(purchase.price_usd)}",
        f"  state    {purchase.state}{f': {purchase.reason}' if purchase.reason else ''}",
    ]
    if purchase.state is PurchaseState.OPEN and purchase.url:
        until = "" if purchase.expires_at is None else f" (until {format_time(purchase.expires_at)})"
        lines += [f"  pay at   {purchase.url}{until}"]
    return lines


def describe_top_up(found: TopUp) -> list[str]:
    """Return the lines about an automatic top-up."""
    state = f"{found.state}{f': {found.reason}' if found.reason else ''}"
    if not found.configured:
        state += " (this installation takes no payments)"
    if found.revision == 0:
        return [f"{found.tenant} has no automatic top-up", f"  state    {state}"]
    terms = f"{format_usd(found.price_usd)} for {plain(found.credits)} credits"
    month = f"{format_usd(found.spent_this_month_usd)} of {format_usd(found.monthly_ceiling_usd)}"
    return [
        f"{found.tenant} pays {terms} when {plain(found.threshold)} or fewer are available",
        f"  state    {state}",
        f"  month    {month}, until {format_time(found.month_ends_at)}",
        f"  charges  {found.payment_method or 'no saved payment method'}",
        *([f"  next     {format_time(found.next_attempt_at)}"] if found.next_attempt_at else []),
    ]


def _describe_packages(found: Packages) -> list[str]:
    heads = ("PACKAGE", "PRICE", "CREDITS", "1000 CREDITS", "SAVES")
    lines = [format_table(heads, [_package_row(each) for each in found.packages], empty="no package is sold")]
    if found.custom is not None:
        bounds = f"{format_usd(found.custom.from_usd)} to {format_usd(found.custom.to_usd)}"
        lines.append(f"any other amount of {bounds} buys 1000 credits a dollar")
    return [*lines, *([found.detail] if found.detail else [])]


def _package_row(package: Package) -> tuple[str, ...]:
    return (
        package.package,
        format_usd(package.price_usd),
        plain(package.credits),
        format_usd(package.usd_per_1000_credits),
        f"{package.saving_percent} %",
    )


def _sync_row(price: SyncedPrice) -> tuple[str, ...]:
    return (price.lookup_key, price.action.value, price.price_id or "-", price.detail or "-")


def _purchase_row(purchase: Purchase) -> tuple[str, ...]:
    return (
        format_time(purchase.created_at),
        purchase.purchase,
        purchase.kind.value,
        format_usd(purchase.price_usd),
        plain(purchase.credits),
        purchase.state.value,
        purchase.reason or "-",
    )
