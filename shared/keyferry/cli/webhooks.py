"""`keyferry webhooks`: a tenant's endpoints for events, their secrets and their log."""

from datetime import datetime, timedelta
from typing import Any

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.delivery_log import SEND_SECONDS, log_options, replay_log, replay_options, show_log, show_test
from keyferry.cli.key_sealing import fetch_intake_key, seal_integration
from keyferry.cli.terminal import format_table, format_time, json_option, parse_span, tenant_option
from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.notification_management import (
    WEBHOOK_ENDPOINT_LIST,
    WEBHOOK_ENDPOINT_REMOVE,
    WEBHOOK_ENDPOINT_ROTATE,
    WEBHOOK_ENDPOINT_SAVE,
    WEBHOOK_ENDPOINT_TEST,
)
from keyferry.contracts.secret import Secret
from keyferry.contracts.webhooks import (
    MAX_OVERLAP_SECONDS,
    ListWebhookEndpoints,
    RemoveWebhookEndpoint,
    RotateWebhookSecret,
    SaveWebhookEndpoint,
    TestWebhookEndpoint,
    WebhookEndpoint,
    WebhookEventType,
)
from keyferry.sealing.webhook_secret import mint_webhook_secret

_UNCHOSEN = (WebhookEventType.WEBHOOK_TEST, WebhookEventType.TARGET_SWITCHED_OFF)
_TYPES = [each.value for each in WebhookEventType if each not in _UNCHOSEN]
_events_option = click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice(_TYPES),
    help="Which events are sent; give it once for each type.",
)


@click.group()
def command() -> None:
    """Manage webhook endpoints: addresses of a tenant's own systems to which events are posted, signed and with retries."""


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List a tenant's webhook endpoints and how they do."""
    found = run(lambda me: me.ask(WEBHOOK_ENDPOINT_LIST, ListWebhookEndpoints(tenant=tenant)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("ENDPOINT", "NAME", "URL", "EVENTS", "STATE", "WAITING", "LAST DELIVERED")
    rows = [
        (
            each.endpoint_id,
            each.name,
            each.url,
            ", ".join(each.event_types),
            format_state(each),
            str(each.waiting),
            format_time(each.last_delivered_at),
        )
        for each in found.endpoints
    ]
    empty = f"{tenant} has no webhook endpoints: `keyferry webhooks add --tenant {tenant} --url URL` adds one"
    click.echo(format_table(heads, rows, empty=empty))


@command.command("add")
@click.option("--url", required=True, help="Where events are posted: https on a public host.")
@_events_option
@click.option("--name", default="webhook", show_default=True, help="A name for people.")
@tenant_option
@json_option
def add(url: str, events: tuple[str, ...], name: str, tenant: str, as_json: bool) -> None:
    """Add an endpoint. Its secret is made here, sealed to the vault, and shown only this once."""
    secret = mint_webhook_secret()
    terms = {"tenant": tenant, "name": name, "url": url, "event_types": list(events or _TYPES)}

    async def work(me: Connection) -> WebhookEndpoint:
        sealed = seal_integration(await fetch_intake_key(me), tenant, IntegrationKind.WEBHOOK_SECRET, secret)
        return await me.ask(WEBHOOK_ENDPOINT_SAVE, SaveWebhookEndpoint.model_validate(terms | {"sealed": sealed}))

    _show_secret(run(work, tenant=tenant), secret, as_json)


@command.command("change")
@click.argument("endpoint_id")
@click.option("--url", help="Another address.")
@_events_option
@click.option("--name", help="Another name.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether events are sent; enabling goes on at once.")
@tenant_option
@json_option
def change(
    endpoint_id: str,
    url: str | None,
    events: tuple[str, ...],
    name: str | None,
    enabled: bool | None,
    tenant: str,
    as_json: bool,
) -> None:
    """Change the endpoint ENDPOINT_ID. What is not given stays as it is."""
    given = {"url": url, "event_types": list(events) or None, "name": name, "enabled": enabled}

    async def work(me: Connection) -> WebhookEndpoint:
        query = ListWebhookEndpoints(tenant=tenant, endpoint_id=endpoint_id)
        before = (await me.ask(WEBHOOK_ENDPOINT_LIST, query)).endpoints[0]
        terms: dict[str, object] = {
            "tenant": tenant,
            "endpoint_id": endpoint_id,
            "expected_revision": before.revision,
            **{each: getattr(before, each) if value is None else value for each, value in given.items()},
        }
        return await me.ask(WEBHOOK_ENDPOINT_SAVE, SaveWebhookEndpoint.model_validate(terms))

    saved = run(work, tenant=tenant)
    click.echo(saved.model_dump_json(indent=2) if as_json else f"changed {saved.endpoint_id}: {format_state(saved)}")


@command.command("remove")
@click.argument("endpoint_id")
@tenant_option
@json_option
def remove(endpoint_id: str, tenant: str, as_json: bool) -> None:
    """Remove the endpoint ENDPOINT_ID with its log and its secret."""
    request = RemoveWebhookEndpoint(tenant=tenant, endpoint_id=endpoint_id)
    removed = run(lambda me: me.ask(WEBHOOK_ENDPOINT_REMOVE, request), tenant=tenant)
    text = f"removed {removed.endpoint.endpoint_id}, and dropped {removed.dropped} deliveries"
    click.echo(removed.model_dump_json(indent=2) if as_json else text)


@command.command("rotate")
@click.argument("endpoint_id")
@click.option(
    "--overlap",
    default="24h",
    show_default=True,
    help="How long events are signed with both secrets: 10m, 24h, 7d; or 0.",
)
@tenant_option
@json_option
def rotate(endpoint_id: str, overlap: str, tenant: str, as_json: bool) -> None:
    """Give the endpoint ENDPOINT_ID a new secret, which is shown only this once."""
    secret = mint_webhook_secret()
    span = timedelta() if overlap == "0" else parse_span(overlap, timedelta(seconds=MAX_OVERLAP_SECONDS))

    async def work(me: Connection) -> WebhookEndpoint:
        sealed = seal_integration(await fetch_intake_key(me), tenant, IntegrationKind.WEBHOOK_SECRET, secret)
        request = RotateWebhookSecret(
            tenant=tenant,
            endpoint_id=endpoint_id,
            sealed=sealed,
            overlap_seconds=span // timedelta(seconds=1),
        )
        return await me.ask(WEBHOOK_ENDPOINT_ROTATE, request)

    _show_secret(run(work, tenant=tenant), secret, as_json)


@command.command("test")
@click.argument("endpoint_id")
@tenant_option
@json_option
def test(endpoint_id: str, tenant: str, as_json: bool) -> None:
    """Send a test event to the endpoint ENDPOINT_ID, and show what it answers."""
    request = TestWebhookEndpoint(tenant=tenant, endpoint_id=endpoint_id)
    show_test(
        run(lambda me: me.ask(WEBHOOK_ENDPOINT_TEST, request, timeout_seconds=SEND_SECONDS), tenant=tenant), as_json
    )


@command.command("log")
@click.argument("endpoint_id")
@log_options
@tenant_option
@json_option
def log(endpoint_id: str, tenant: str, as_json: bool, **chosen: Any) -> None:
    """Show what was sent to the endpoint ENDPOINT_ID, newest first."""
    show_log(tenant, endpoint_id, as_json, **chosen)


@command.command("replay")
@click.argument("endpoint_id")
@replay_options
@tenant_option
@json_option
def replay(
    endpoint_id: str,
    delivery_id: str | None,
    since: datetime | None,
    until: datetime | None,
    everything: bool,
    tenant: str,
    as_json: bool,
) -> None:
    """Send events to the endpoint ENDPOINT_ID again: one delivery, or what failed in a span of time."""
    replay_log(tenant, endpoint_id, delivery_id, since, until, everything, as_json)


def format_state(endpoint: WebhookEndpoint) -> str:
    """Return whether events are sent, and whether they arrive."""
    if endpoint.switched_off_at is not None:
        return f"switched off: {endpoint.last_error or 'it failed'}"
    if not endpoint.enabled:
        return "disabled"
    return f"failing: {endpoint.last_error}" if endpoint.failing_since is not None else "enabled"


def _show_secret(endpoint: WebhookEndpoint, secret: Secret, as_json: bool) -> None:
    """Print the endpoint and its new secret, which nobody can read again."""
    if as_json:
        shown = endpoint.model_copy(update={}).model_dump_json(indent=2)
        click.echo(shown[:-2] + f',\n  "secret": "{secret.reveal()}"\n}}')
        return
    click.echo(f"{endpoint.endpoint_id} posts to {endpoint.url}")
    click.echo(f"secret (shown only this once): {secret.reveal()}")
