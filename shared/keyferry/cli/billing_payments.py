"""`keyferry billing`: payments of tenants, the events of Stripe, and the comparison with it."""

from datetime import datetime

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, format_time, json_option
from keyferry.contracts.money import plain
from keyferry.contracts.payment_management import (
    PAYMENT_CHECK_MISSING,
    PAYMENT_LIST,
    STRIPE_EVENT_LIST,
    STRIPE_EVENT_REPLAY,
    STRIPE_RECONCILIATION_LIST,
    STRIPE_RECONCILIATION_RUN,
)
from keyferry.contracts.payments import CheckMissingCredits, ListPayments, MissingCredits, Payment
from keyferry.contracts.stripe_events import (
    EventState,
    ListStripeEvents,
    ListStripeReconciliations,
    ReplayStripeEvents,
    RunStripeReconciliation,
    StripeEvent,
    StripeReconciliation,
)

_CHECK_SECONDS = 60.0
_RECONCILE_SECONDS = 300.0
_PAGE = click.IntRange(1, 500)
_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.command()
@click.argument("tenant")
@click.option("--limit", default=50, show_default=True, type=_PAGE, help="Payments of one page.")
@click.option("--after", help="Continue behind this cursor, which the page before shows.")
@json_option
def payments(tenant: str, limit: int, after: str | None, as_json: bool) -> None:
    """List the payments of TENANT, newest first, with what was refunded or disputed of them."""
    found = run(lambda me: me.ask(PAYMENT_LIST, ListPayments(tenant=tenant, limit=limit, after=after)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("PAID", "PAYMENT", "AMOUNT", "CREDITS", "TAKEN BACK", "STATE", "DETAIL")
    click.echo(format_table(heads, [_payment_row(each) for each in found.payments], empty="nothing was paid yet"))
    if found.next:
        click.echo(f"`--after {found.next}` shows those before")


@click.command("check-missing")
@click.argument("tenant")
@json_option
def check_missing(tenant: str, as_json: bool) -> None:
    """Compare the payments of TENANT in the last 90 days with Stripe now, and credit what is missing, exactly once."""
    query = CheckMissingCredits(tenant=tenant)
    done = run(lambda me: me.ask(PAYMENT_CHECK_MISSING, query, timeout_seconds=_CHECK_SECONDS), tenant=tenant)
    click.echo(done.model_dump_json(indent=2) if as_json else "\n".join(_describe_missing(done)))


@click.command("events")
@click.option("--state", type=click.Choice([state.value for state in EventState]), help="Only those in this state.")
@click.option("--limit", default=50, show_default=True, type=_PAGE, help="Events of one page.")
@click.option("--after", help="Continue behind this cursor, which the page before shows.")
@json_option
def events(state: str | None, limit: int, after: str | None, as_json: bool) -> None:
    """List the events that Stripe has delivered, newest first, with what became of each."""
    query = ListStripeEvents(state=None if state is None else EventState(state), limit=limit, after=after)
    found = run(lambda me: me.ask(STRIPE_EVENT_LIST, query))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("RECEIVED", "EVENT", "TYPE", "TIMES", "STATE", "DETAIL")
    click.echo(format_table(heads, [_event_row(each) for each in found.events], empty="Stripe has delivered no event"))
    if found.next:
        click.echo(f"`--after {found.next}` shows those before")


@click.command("replay-events")
@click.argument("event_ids", nargs=-1, metavar="[EVENT]...")
@click.option("--all-parked", is_flag=True, help="All that are parked.")
@json_option
def replay_events(event_ids: tuple[str, ...], all_parked: bool, as_json: bool) -> None:
    """Process events of Stripe again, once the cause of a parked one is gone. Nothing is credited twice."""
    if bool(event_ids) == all_parked:
        raise click.UsageError("give the ids of events, or --all-parked")
    query = ReplayStripeEvents(event_ids=list(event_ids), all_parked=all_parked)
    done = run(lambda me: me.ask(STRIPE_EVENT_REPLAY, query))
    click.echo(done.model_dump_json(indent=2) if as_json else f"{done.replayed} events are processed again")


@click.command()
@click.option("--day", type=_DAY, help="The day (UTC) to compare; yesterday by default.")
@json_option
def reconcile(day: datetime | None, as_json: bool) -> int:
    """Compare the payments of a day with Stripe in both directions, and credit what is missing.

    The exit status is 1 if the two differ, also where the comparison has put it right.
    """
    query = RunStripeReconciliation(day=None if day is None else day.date())
    found = run(lambda me: me.ask(STRIPE_RECONCILIATION_RUN, query, timeout_seconds=_RECONCILE_SECONDS))
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(_describe_report(found)))
    return 0 if found.complete and not found.differences else 1


@click.command()
@click.option("--limit", default=30, show_default=True, type=_PAGE, help="Reports to show.")
@json_option
def reconciliations(limit: int, as_json: bool) -> None:
    """List the reports of the daily comparison with Stripe, newest first."""
    found = run(lambda me: me.ask(STRIPE_RECONCILIATION_LIST, ListStripeReconciliations(limit=limit)))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("DAY", "RUN AT", "AT STRIPE", "RECORDED", "DIFFERENCES", "COMPLETE")
    rows = [_report_row(report) for report in found.reports]
    click.echo(format_table(heads, rows, empty="no day was compared yet"))


COMMANDS = (payments, check_missing, events, replay_events, reconcile, reconciliations)
"""For the group `keyferry billing`."""


def _payment_row(payment: Payment) -> tuple[str, ...]:
    return (
        format_time(payment.paid_at),
        payment.payment_id,
        payment.amount,
        plain(payment.credits),
        plain(payment.taken_back),
        payment.state.value,
        payment.detail or "-",
    )


def _event_row(event: StripeEvent) -> tuple[str, ...]:
    return (
        format_time(event.received_at),
        event.event_id,
        event.type,
        str(event.deliveries),
        event.state.value,
        event.detail or "-",
    )


def _report_row(report: StripeReconciliation) -> tuple[str, ...]:
    return (
        report.day.isoformat(),
        format_time(report.run_at),
        str(report.payments_at_stripe),
        str(report.payments_recorded),
        str(len(report.differences) + report.more_differences),
        "yes" if report.complete else report.detail or "no",
    )


def _describe_missing(done: MissingCredits) -> list[str]:
    lines = [
        f"{done.tenant}: {done.checked} payments compared with Stripe",
        f"  credited now    {plain(done.credited)}",
        f"  taken back now  {plain(done.taken_back)}",
    ]
    if done.still_open:
        lines.append(f"  not finished    {done.still_open} payments, which the customer has begun")
    return [*lines, *(f"  look at         {detail}" for detail in done.parked)]


def _describe_report(found: StripeReconciliation) -> list[str]:
    head = (
        f"{found.day}: {found.payments_at_stripe} at Stripe, {found.payments_recorded} recorded,"
        f" {len(found.differences) + found.more_differences} differences"
    )
    if not found.complete:
        head += f"; not complete: {found.detail}"
    return [head, *(f"  {each.subject}: {each.detail}" for each in found.differences)]
