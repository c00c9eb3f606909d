"""`keyferry integrations`: secrets for Stripe, Lago, mail servers and chats are sealed here, and shown masked."""

from datetime import timedelta

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.key_input import read_key
from keyferry.cli.key_sealing import fetch_intake_key, seal_integration
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, format_time, json_option, parse_span, tenant_option
from keyferry.contracts.integration_formats import FORMS
from keyferry.contracts.integration_management import (
    INTEGRATION_SECRET_LIST,
    INTEGRATION_SECRET_REMOVE,
    INTEGRATION_SECRET_ROTATE,
    INTEGRATION_SECRET_SAVE,
)
from keyferry.contracts.integration_secrets import (
    MAX_OVERLAP_SECONDS,
    PLATFORM_KINDS,
    IntegrationKind,
    IntegrationSecret,
    ListIntegrationSecrets,
    RemoveIntegrationSecret,
    RotateIntegrationSecret,
    SaveIntegrationSecret,
)
from keyferry.contracts.tenancy import PLATFORM_TENANT

_KINDS = tuple(kind.value for kind in IntegrationKind if kind is not IntegrationKind.WEBHOOK_SECRET)
secret_file_option = click.option(
    "--secret-file",
    metavar="FILE",
    help="Read the secret from this file, or `-` for standard input. Default: prompt for it.",
)


@click.group()
def command() -> None:
    """Manage integration secrets: what Keyferry signs in with at Stripe, Lago, mail servers, chats and usage reports.

    The tenant `platform` has those that the operator uses itself.
    """


@command.command("list")
@click.option("--kind", type=click.Choice([kind.value for kind in IntegrationKind]), help="Only those of this kind.")
@tenant_option
@json_option
def list_(kind: str | None, tenant: str, as_json: bool) -> None:
    """List a tenant's integration secrets, masked."""
    query = ListIntegrationSecrets.model_validate({"tenant": tenant, "kind": kind})
    found = run(lambda me: me.ask(INTEGRATION_SECRET_LIST, query), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("SECRET", "KIND", "NAME", "MASKED", "VERSION", "SINCE", "PREVIOUS UNTIL")
    rows = [
        (
            secret.secret_id,
            secret.kind.value,
            secret.name,
            secret.masked,
            str(secret.version),
            format_time(secret.rotated_at or secret.created_at),
            format_time(secret.previous_until),
        )
        for secret in found.secrets
    ]
    empty = f"{tenant} has no integration secrets: `keyferry integrations add KIND --tenant {tenant}` adds one"
    click.echo(format_table(heads, rows, empty=empty))


@command.command()
@click.argument("kind", type=click.Choice(_KINDS))
@click.option("--name", default="main", show_default=True, help="A name for people.")
@secret_file_option
@tenant_option
@json_option
def add(kind: str, name: str, secret_file: str | None, tenant: str, as_json: bool) -> None:
    """Add a secret of KIND. It is sealed here, and only the vault can open it."""
    chosen = IntegrationKind(kind)
    if chosen in PLATFORM_KINDS and tenant != PLATFORM_TENANT:
        raise Problem(f"only the platform has {FORMS[chosen].title}", f"Give --tenant {PLATFORM_TENANT}")
    secret = read_key(secret_file, FORMS[chosen].title.capitalize(), noun="secret", option="--secret-file")

    async def work(me: Connection) -> IntegrationSecret:
        sealed = seal_integration(await fetch_intake_key(me), tenant, chosen, secret)
        return await me.ask(
            INTEGRATION_SECRET_SAVE, SaveIntegrationSecret(tenant=tenant, kind=chosen, name=name, sealed=sealed)
        )

    _show(run(work, tenant=tenant), "added", as_json)


@command.command()
@click.argument("secret_id")
@secret_file_option
@click.option(
    "--overlap",
    default="24h",
    show_default=True,
    help="How long the previous version stays valid, too: 10m, 24h, 7d; 0 destroys it at once.",
)
@tenant_option
@json_option
def rotate(secret_id: str, secret_file: str | None, overlap: str, tenant: str, as_json: bool) -> None:
    """Replace the secret SECRET_ID by another one. Both are valid until the overlap ends."""
    longest = timedelta(seconds=MAX_OVERLAP_SECONDS)
    span = timedelta() if overlap == "0" else parse_span(overlap, longest)
    query = ListIntegrationSecrets(tenant=tenant, secret_id=secret_id)
    secret = read_key(secret_file, f"The secret to replace {query.secret_id}", noun="secret", option="--secret-file")

    async def work(me: Connection) -> IntegrationSecret:
        stored = (await me.ask(INTEGRATION_SECRET_LIST, query)).secrets[0]
        sealed = seal_integration(await fetch_intake_key(me), tenant, stored.kind, secret)
        request = RotateIntegrationSecret(
            tenant=tenant, secret_id=secret_id, sealed=sealed, overlap_seconds=span // timedelta(seconds=1)
        )
        return await me.ask(INTEGRATION_SECRET_ROTATE, request)

    _show(run(work, tenant=tenant), "rotated", as_json)


@command.command()
@click.argument("secret_id")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@tenant_option
@json_option
def remove(secret_id: str, yes: bool, tenant: str, as_json: bool) -> None:
    """Destroy the secret SECRET_ID with all its versions."""
    request = RemoveIntegrationSecret(tenant=tenant, secret_id=secret_id)
    if not yes:
        click.confirm(f"Destroy {request.secret_id} of {tenant}? What uses it stops working", abort=True, err=True)
    removed = run(lambda me: me.ask(INTEGRATION_SECRET_REMOVE, request), tenant=tenant)
    _show(removed.secret, "removed", as_json)


def _show(secret: IntegrationSecret, what: str, as_json: bool) -> None:
    if as_json:
        click.echo(secret.model_dump_json(indent=2))
        return
    click.echo(
        f"{what} {secret.secret_id}: {secret.kind.value} {secret.name} ({secret.masked}), version {secret.version}"
    )
    if secret.previous_until is not None:
        click.echo(f"  the previous version is valid until {format_time(secret.previous_until)}")
