"""The log of deliveries, which channels and webhook endpoints share, and its replay."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, format_time
from keyferry.contracts.notification_channels import DeliveryTest
from keyferry.contracts.notification_management import DELIVERY_LIST, DELIVERY_REPLAY
from keyferry.contracts.webhooks import DeliveryState, ListDeliveries, ReplayDeliveries, WebhookEventType

SEND_SECONDS = 40.0
"""A test or a report waits for the answer of a mail server, a chat or an endpoint."""
_TIME = click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"])


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose a page of the log."""
    for option in (
        click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="At most so many."),
        click.option("--before", help="Only those before this delivery, by its id."),
        click.option("--until", type=_TIME, help="Only those made before this time (UTC)."),
        click.option("--since", type=_TIME, help="Only those made since this time (UTC)."),
        click.option("--kind", type=click.Choice([each.value for each in WebhookEventType]), help="Only of this type."),
        click.option("--state", type=click.Choice([each.value for each in DeliveryState]), help="Only in this state."),
    ):
        command = option(command)
    return command


def replay_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose what is sent again."""
    for option in (
        click.option("--everything", is_flag=True, help="Of a span, also what was delivered."),
        click.option("--until", type=_TIME, help="All that were made before this time (UTC)."),
        click.option("--since", type=_TIME, help="All that were made since this time (UTC)."),
        click.option("--delivery-id", metavar="DELIVERY", help="One delivery, by its id."),
    ):
        command = option(command)
    return command


def show_log(tenant: str, target_id: str, as_json: bool, **chosen: Any) -> None:
    """Print a page of the log."""
    kind = chosen.pop("kind")
    query = ListDeliveries.model_validate({"tenant": tenant, "target_id": target_id, "event_type": kind, **chosen})
    page = run(lambda me: me.ask(DELIVERY_LIST, query), tenant=tenant)
    if as_json:
        click.echo(page.model_dump_json(indent=2))
        return
    heads = ("DELIVERY", "TYPE", "STATE", "TRIES", "MADE", "STATUS", "MS", "ANSWER")
    rows = [
        (
            each.delivery_id,
            each.event_type.value,
            each.state.value,
            str(each.attempts),
            format_time(each.created_at),
            "" if each.status is None else str(each.status),
            "" if each.latency_ms is None else str(each.latency_ms),
            (each.answer or "")[:60],
        )
        for each in page.deliveries
    ]
    click.echo(format_table(heads, rows, empty="nothing was sent, or the log has nothing of what was chosen"))
    if page.more:
        click.echo(f"more: --before {page.deliveries[-1].delivery_id}")


def replay_log(
    tenant: str,
    target_id: str,
    delivery_id: str | None,
    since: datetime | None,
    until: datetime | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Have deliveries of the log made anew, and print how many."""
    command = ReplayDeliveries.model_validate(
        {
            "tenant": tenant,
            "target_id": target_id,
            "delivery_id": delivery_id,
            "since": since,
            "until": until,
            "failed_only": not everything,
        }
    )
    done = run(lambda me: me.ask(DELIVERY_REPLAY, command), tenant=tenant)
    click.echo(done.model_dump_json(indent=2) if as_json else f"{done.replayed} deliveries are made anew")


def show_test(test: DeliveryTest, as_json: bool) -> None:
    """Print what came of a test; end with exit code 1 if it was not delivered."""
    if as_json:
        click.echo(test.model_dump_json(indent=2))
    else:
        status = "" if test.status is None else f" with status {test.status}"
        outcome = "delivered" if test.delivered else "not delivered"
        click.echo(f"{outcome}{status} after {test.latency_ms} ms: {test.answer}")
    if not test.delivered:
        raise SystemExit(1)
