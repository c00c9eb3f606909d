"""`keyferry billing lago`: reporting usage and purchases to Lago."""

from datetime import datetime

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, format_time, json_option
from keyferry.contracts.lago import (
    BackfillLago,
    GetLagoStatus,
    LagoCustomer,
    LagoOutcome,
    LagoStatus,
    ListLagoCustomers,
    ListParkedLagoEvents,
    ReplayLagoEvents,
    SaveLagoCustomer,
)
from keyferry.contracts.lago_management import (
    LAGO_BACKFILL,
    LAGO_CUSTOMER_LIST,
    LAGO_CUSTOMER_SAVE,
    LAGO_EVENT_LIST,
    LAGO_EVENT_REPLAY,
    LAGO_STATUS,
)

_LONG_SECONDS = 300.0
_DAY = click.DateTime(formats=["%Y-%m-%d"])
_PAGE = click.IntRange(1, 500)


@click.group()
def lago() -> None:
    """Show how usage is reported to Lago, choose tenants' customers there, and report events again."""


@lago.command()
@json_option
def status(as_json: bool) -> None:
    """Show whether usage is reported, what waits, and what Lago refuses."""
    found = run(lambda me: me.ask(LAGO_STATUS, GetLagoStatus()))
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_status(found)))


@lago.command()
@click.option("--only", metavar="TENANT", help="Only this tenant.")
@click.option("--limit", default=500, show_default=True, type=_PAGE, help="Tenants of one page.")
@click.option("--after", help="Continue behind this tenant.")
@json_option
def customers(only: str | None, limit: int, after: str | None, as_json: bool) -> None:
    """List which tenant is which customer in Lago."""
    query = ListLagoCustomers(only=only, limit=limit, after=after)
    found = run(lambda me: me.ask(LAGO_CUSTOMER_LIST, query))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("TENANT", "STATE", "CUSTOMER", "SUBSCRIPTION", "WALLET", "BY")
    click.echo(
        format_table(heads, [_customer_row(each) for each in found.customers], empty="no tenant has a customer yet")
    )
    if found.next:
        click.echo(f"`--after {found.next}` shows those that follow")


@lago.command("set-customer")
@click.argument("tenant")
@click.option("--customer", "external_customer_id", help="The customer's external id in Lago.")
@click.option("--subscription", "external_subscription_id", help="The subscription's external id in Lago.")
@click.option("--wallet", "wallet_id", help="Lago's id of the wallet where purchases are booked.")
@click.option("--skip", "skipped", is_flag=True, help="Send nothing of this tenant to Lago.")
@json_option
def set_customer(
    tenant: str,
    external_customer_id: str | None,
    external_subscription_id: str | None,
    wallet_id: str | None,
    skipped: bool,
    as_json: bool,
) -> None:
    """Choose which customer TENANT is in Lago. Attempts from now on are reported for it; `backfill` reports earlier ones."""
    question = SaveLagoCustomer(
        tenant=tenant,
        skipped=skipped,
        external_customer_id=external_customer_id,
        external_subscription_id=external_subscription_id,
        wallet_id=wallet_id,
    )
    saved = run(lambda me: me.ask(LAGO_CUSTOMER_SAVE, question), tenant=tenant)
    subscription = f"customer {saved.external_customer_id}, subscription {saved.external_subscription_id}"
    text = f"{saved.tenant}: {'nothing is sent to Lago' if skipped else subscription}"
    click.echo(saved.model_dump_json(indent=2) if as_json else text)


@lago.command()
@click.option("--only", metavar="TENANT", help="Only events of this tenant.")
@click.option("--limit", default=100, show_default=True, type=_PAGE, help="Events of one page.")
@click.option("--after", help="Continue behind this attempt.")
@json_option
def parked(only: str | None, limit: int, after: str | None, as_json: bool) -> None:
    """List events that Lago refuses, oldest first, with the reasons."""
    query = ListParkedLagoEvents(only=only, limit=limit, after=after)
    found = run(lambda me: me.ask(LAGO_EVENT_LIST, query))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("ATTEMPT", "TENANT", "ENDED", "TOKENS", "REPLAYS", "REASON")
    rows = [
        (each.attempt_id, each.tenant, format_time(each.ended_at), str(each.tokens), str(each.replays), each.reason)
        for each in found.events
    ]
    click.echo(format_table(heads, rows, empty="Lago refuses no event"))
    if found.next:
        click.echo(f"{found.total} in all: `--after {found.next}` shows those that follow")


@lago.command()
@click.argument("attempt_ids", nargs=-1, metavar="[ATTEMPT_ID]...")
@click.option("--all", "every", is_flag=True, help="The oldest five hundred of all.")
@json_option
def replay(attempt_ids: tuple[str, ...], every: bool, as_json: bool) -> int:
    """Report events again that Lago has refused: those named, or --all.

    What is refused again stays, with its new reason; the exit status is 1 then.
    """
    if every == bool(attempt_ids):
        raise click.UsageError("name attempts, or give --all")
    question = ReplayLagoEvents(attempt_ids=list(attempt_ids), every=every)
    done = run(lambda me: me.ask(LAGO_EVENT_REPLAY, question, timeout_seconds=_LONG_SECONDS))
    click.echo(done.model_dump_json(indent=2) if as_json else f"{_outcome(done.outcome)}; {done.left} still parked")
    return 1 if done.outcome.parked else 0


@lago.command()
@click.argument("tenant")
@click.argument("since", type=_DAY, metavar="FROM")
@click.argument("until", type=_DAY, metavar="TO")
@json_option
def backfill(tenant: str, since: datetime, until: datetime, as_json: bool) -> None:
    """Report attempts of TENANT from the ledger, of the days (UTC) from FROM to TO. Lago counts none of them twice."""
    if until < since:
        raise click.UsageError("TO is before FROM: both days are included")
    question = BackfillLago(tenant=tenant, since=since.date(), until=until.date())
    done = run(lambda me: me.ask(LAGO_BACKFILL, question, timeout_seconds=_LONG_SECONDS), tenant=tenant)
    click.echo(done.model_dump_json(indent=2) if as_json else f"{done.attempts} attempts: {_outcome(done.outcome)}")


def format_status(found: LagoStatus) -> list[str]:
    """Return how reporting is going, for people."""
    if found.url is None:
        return ["usage is not reported to Lago: set KEYFERRY_LAGO_URL for the billing service to begin"]
    plan = f"plan {found.plan}" if found.plan else "left out"
    lines = [
        f"{found.state.value} to {found.url}; tenants without a customer: {plan}",
        f"{found.accepted} events accepted, {found.known} known before, {found.skipped} left out, {found.parked} parked",
        f"{found.waiting_messages} batches and {found.purchases_waiting} payments wait",
    ]
    if found.since is not None:
        lines.append(f"attempts since {format_time(found.since)} are reported; `backfill` reports earlier ones")
    if found.oldest_waiting_at is not None:
        lines.append(f"the oldest waits since {format_time(found.oldest_waiting_at)}")
    return lines + ([f"last error: {found.last_error}"] if found.last_error else [])


def _customer_row(customer: LagoCustomer) -> tuple[str, ...]:
    return (
        customer.tenant,
        customer.state.value,
        customer.external_customer_id,
        customer.external_subscription_id,
        customer.wallet_id or "-",
        customer.created_by,
    )


def _outcome(outcome: LagoOutcome) -> str:
    return f"{outcome.accepted} accepted, {outcome.known} known before, {outcome.skipped} left out, {outcome.parked} refused"
