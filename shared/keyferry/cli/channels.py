"""`keyferry channels`: how people are notified, by e-mail, Slack or a webhook endpoint."""

from datetime import datetime
from typing import Any

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.delivery_log import SEND_SECONDS, log_options, replay_log, replay_options, show_log, show_test
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, format_time, json_option, tenant_option
from keyferry.contracts.notification_channels import (
    ChannelKind,
    ChannelTerms,
    ConfirmAddress,
    ListChannels,
    NotificationChannel,
    RemoveChannel,
    SaveChannel,
    SendConfirmation,
    TestChannel,
)
from keyferry.contracts.notification_management import (
    CHANNEL_ADDRESS_ASK,
    CHANNEL_ADDRESS_CONFIRM,
    CHANNEL_LIST,
    CHANNEL_REMOVE,
    CHANNEL_SAVE,
    CHANNEL_TEST,
)

_TERMS = (
    click.option("--email", "emails", multiple=True, metavar="ADDRESS", help="An address; give it once for each."),
    click.option(
        "--slack-secret", metavar="SECRET", help="The integration secret of the kind slack_webhook_url, by its id."
    ),
    click.option("--endpoint", metavar="ENDPOINT", help="The webhook endpoint, by its id."),
    click.option("--quiet", metavar="HH:MM-HH:MM", help="When only critical alerts are sent; `none` for never."),
    click.option("--quiet-zone", metavar="ZONE", help="The time zone of the quiet hours; default the tenant's."),
    click.option(
        "--usual/--not-usual", "usual", default=None, help="Whether it gets alerts of rules that name no channel."
    ),
    click.option("--enable/--disable", "enabled", default=None, help="Whether it is used; enabling goes on at once."),
)


def _terms_options(command: Any) -> Any:
    for option in reversed(_TERMS):
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Manage channels by which people are notified: e-mail, Slack, or a webhook endpoint."""


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List a tenant's channels and how they do."""
    found = run(lambda me: me.ask(CHANNEL_LIST, ListChannels(tenant=tenant)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("CHANNEL", "NAME", "KIND", "TO", "QUIET", "STATE", "WAITING", "LAST DELIVERED")
    rows = [
        (
            each.channel_id,
            each.name,
            each.kind.value,
            format_target(each),
            "" if each.quiet_hours is None else f"{each.quiet_hours.begin}-{each.quiet_hours.end}",
            format_channel_state(each),
            str(each.waiting),
            format_time(each.last_delivered_at),
        )
        for each in found.channels
    ]
    empty = f"{tenant} has no channels, so alerts go to its owners: `keyferry channels add --tenant {tenant}` adds one"
    click.echo(format_table(heads, rows, empty=empty))


@command.command("add")
@click.option("--name", default="alerts", show_default=True, help="A name for people.")
@_terms_options
@tenant_option
@json_option
def add(tenant: str, as_json: bool, **given: Any) -> None:
    """Add a channel. An address that is no member's receives a code first: `keyferry channels confirm` takes it."""
    terms = _chosen(given)
    terms["kind"] = _kind_of(terms)
    saved = run(lambda me: me.ask(CHANNEL_SAVE, SaveChannel.model_validate(terms | {"tenant": tenant})), tenant=tenant)
    _show(saved, "added", as_json)


@command.command("change")
@click.argument("channel_id")
@click.option("--name", help="Another name.")
@_terms_options
@tenant_option
@json_option
def change(channel_id: str, tenant: str, as_json: bool, **given: Any) -> None:
    """Change the channel CHANNEL_ID. What is not given stays as it is."""

    async def work(me: Connection) -> NotificationChannel:
        query = ListChannels(tenant=tenant, channel_id=channel_id)
        before = (await me.ask(CHANNEL_LIST, query)).channels[0]
        terms = before.model_dump(include=set(ChannelTerms.model_fields)) | _chosen(given)
        revision = {"channel_id": channel_id, "expected_revision": before.revision}
        return await me.ask(CHANNEL_SAVE, SaveChannel.model_validate(terms | revision))

    _show(run(work, tenant=tenant), "changed", as_json)


@command.command("remove")
@click.argument("channel_id")
@tenant_option
@json_option
def remove(channel_id: str, tenant: str, as_json: bool) -> None:
    """Remove the channel CHANNEL_ID; what waits to be sent by it is dropped."""
    request = RemoveChannel(tenant=tenant, channel_id=channel_id)
    removed = run(lambda me: me.ask(CHANNEL_REMOVE, request), tenant=tenant)
    text = f"removed {channel_id}, and dropped {removed.dropped} notifications"
    click.echo(removed.model_dump_json(indent=2) if as_json else text)


@command.command("test")
@click.argument("channel_id")
@tenant_option
@json_option
def test(channel_id: str, tenant: str, as_json: bool) -> None:
    """Send a test by the channel CHANNEL_ID, and show what is answered."""
    request = TestChannel(tenant=tenant, channel_id=channel_id)
    show_test(run(lambda me: me.ask(CHANNEL_TEST, request, timeout_seconds=SEND_SECONDS), tenant=tenant), as_json)


@command.command("send-code")
@click.argument("address")
@tenant_option
@json_option
def send_code(address: str, tenant: str, as_json: bool) -> None:
    """Send another code to ADDRESS, which some channel has and which is not confirmed; at most one an hour."""
    request = SendConfirmation(tenant=tenant, address=address)
    found = run(lambda me: me.ask(CHANNEL_ADDRESS_ASK, request, timeout_seconds=SEND_SECONDS), tenant=tenant)
    text = f"sent a code to {address}, valid until {format_time(found.code_expires_at)}"
    click.echo(found.model_dump_json(indent=2) if as_json else text)


@command.command("confirm")
@click.argument("address")
@click.argument("code")
@tenant_option
@json_option
def confirm(address: str, code: str, tenant: str, as_json: bool) -> None:
    """Confirm ADDRESS by the CODE that was sent to it: from then on it receives notifications."""
    request = ConfirmAddress(tenant=tenant, address=address, code=code)
    found = run(lambda me: me.ask(CHANNEL_ADDRESS_CONFIRM, request), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else f"{address} is confirmed")


@command.command("log")
@click.argument("channel_id")
@log_options
@tenant_option
@json_option
def log(channel_id: str, tenant: str, as_json: bool, **chosen: Any) -> None:
    """Show what was sent by the channel CHANNEL_ID, newest first."""
    show_log(tenant, channel_id, as_json, **chosen)


@command.command("replay")
@click.argument("channel_id")
@replay_options
@tenant_option
@json_option
def replay(
    channel_id: str,
    delivery_id: str | None,
    since: datetime | None,
    until: datetime | None,
    everything: bool,
    tenant: str,
    as_json: bool,
) -> None:
    """Send notifications by the channel CHANNEL_ID again: one, or what failed in a span of time."""
    replay_log(tenant, channel_id, delivery_id, since, until, everything, as_json)


def format_target(channel: NotificationChannel) -> str:
    """Return whom a channel reaches, with the state of addresses that receive nothing."""
    if channel.kind is not ChannelKind.EMAIL:
        return channel.endpoint_id or channel.secret_id or ""
    return ", ".join(
        each.address + (" (not confirmed)" if each.state.value == "unconfirmed" else "")
        for each in channel.recipient_states
    )


def format_channel_state(channel: NotificationChannel) -> str:
    """Return whether a channel is used, and whether it works."""
    if channel.switched_off_at is not None:
        return f"switched off: {channel.last_error or 'it failed'}"
    if not channel.enabled:
        return "disabled"
    return f"failing: {channel.last_error}" if channel.failing_since is not None else "enabled"


def _chosen(given: dict[str, Any]) -> dict[str, Any]:
    """Return the terms that options name. Raises Problem."""
    renamed = {
        "name": given["name"],
        "recipients": list(given["emails"]) or None,
        "secret_id": given["slack_secret"],
        "endpoint_id": given["endpoint"],
        "usual": given["usual"],
        "enabled": given["enabled"],
    }
    terms = {name: value for name, value in renamed.items() if value is not None}
    if given["quiet"] == "none":
        terms["quiet_hours"] = None
    elif given["quiet"] is not None:
        begin, dash, end = given["quiet"].partition("-")
        if not dash:
            raise Problem("that is no span of hours", "Give --quiet 22:00-07:00, or --quiet none")
        terms["quiet_hours"] = {"begin": begin, "end": end, "time_zone": given["quiet_zone"]}
    return terms


def _kind_of(terms: dict[str, Any]) -> str:
    kinds = {"recipients": "email", "secret_id": "slack", "endpoint_id": "webhook"}
    found = [kind for name, kind in kinds.items() if name in terms]
    if len(found) != 1:
        raise Problem("a channel has one target", "Give one of --email, --slack-secret and --endpoint")
    return found[0]


def _show(channel: NotificationChannel, done: str, as_json: bool) -> None:
    text = f"{done} {channel.channel_id}: {channel.kind} to {format_target(channel)}, {format_channel_state(channel)}"
    click.echo(channel.model_dump_json(indent=2) if as_json else text)
