"""`keyferry tokens`: tokens are generated here, registered by their digest, and shown once."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from keyferry.cli.connection import run
from keyferry.cli.limits import limit_changes, limit_options
from keyferry.cli.terminal import EXPIRY_HELP, format_table, format_time, json_option, parse_expiry, tenant_option
from keyferry.cli.token_changes import disable, edit, enable, end_overlap, limit, rotate
from keyferry.cli.token_options import check_token_id, scope_options, scopes
from keyferry.cli.token_output import HEADS, describe_row, register_secret
from keyferry.contracts import client_token
from keyferry.contracts.limits import LimitChange, LimitChanges
from keyferry.contracts.route import ListModels
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import (
    CreateClientToken,
    ListClientTokens,
    RevokeClientToken,
)
from keyferry.contracts.topology import MODEL_LIST, TOKEN_CREATE, TOKEN_LIST, TOKEN_REVOKE
from keyferry.runtime.bus.requests import BusError, Refused

_LAST = 4


@click.group()
def command() -> None:
    """Manage client tokens, the credentials of a tenant's programs."""


for _change in (edit, limit, enable, disable, rotate, end_overlap):
    command.add_command(_change)


@command.command()
@tenant_option
@click.option("--label", default="command line", show_default=True, help="What it is for.")
@scope_options
@click.option("--team", help="The team whose preferences its requests have.")
@click.option("--member", help="The member whose preferences its requests have.")
@click.option("--expires", help=EXPIRY_HELP)
@limit_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write the token to this new file (mode 0600) instead of the screen.",
)
@json_option
def create(
    tenant: str,
    label: str,
    models: tuple[str, ...],
    operations: tuple[str, ...],
    apis: tuple[str, ...],
    origins: tuple[str, ...],
    team: str | None,
    member: str | None,
    expires: str | None,
    rpm: LimitChange | None,
    tpm: LimitChange | None,
    concurrency: LimitChange | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Create a client token. Only its digest is sent and stored, so it is shown only once."""
    token = client_token.mint()
    expires_at = None if expires is None else parse_expiry(expires, datetime.now(UTC))
    limits = limit_changes(rpm, tpm, concurrency)
    command = build_registration(token, tenant, label, models, expires_at, limits, team=team, member=member)
    command = CreateClientToken.model_validate(command.model_dump() | scopes(models, operations, apis, origins))
    register_secret(
        token, output, lambda: run(lambda me: me.ask(TOKEN_CREATE, command), tenant=tenant), "created", as_json
    )
    if models:
        _warn_unknown(tenant, models)


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List a tenant's client tokens."""
    found = run(lambda me: me.ask(TOKEN_LIST, ListClientTokens(tenant=tenant)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    now = datetime.now(UTC)
    rows = [describe_row(token, now) for token in found.tokens]
    click.echo(
        format_table(
            HEADS, rows, empty=f"{tenant} has no client tokens: `keyferry tokens create --tenant {tenant}` makes one"
        )
    )


@command.command()
@click.argument("token_id")
@tenant_option
@json_option
def revoke(token_id: str, tenant: str, as_json: bool) -> None:
    """Revoke TOKEN_ID, as `keyferry tokens list` shows it."""
    check_token_id(token_id, tenant)
    revoked = run(lambda me: me.ask(TOKEN_REVOKE, RevokeClientToken(tenant=tenant, token_id=token_id)), tenant=tenant)
    click.echo(
        revoked.model_dump_json(indent=2)
        if as_json
        else f"revoked {revoked.token_id} ({revoked.label}) as of {format_time(revoked.revoked_at)}"
    )


def build_registration(
    token: Secret,
    tenant: str,
    label: str,
    models: tuple[str, ...] = (),
    expires_at: datetime | None = None,
    limits: LimitChanges | None = None,
    *,
    team: str | None = None,
    member: str | None = None,
) -> CreateClientToken:
    """Return the registration of a token: only its digest and its last four characters are sent."""
    text = token.reveal()
    return CreateClientToken(
        tenant=tenant,
        label=label,
        digest=client_token.digest(text),
        last4=text[-_LAST:],
        allowed_models=list(models) or None,
        team=team,
        member=member,
        expires_at=expires_at,
        limits=limits,
    )


def _warn_unknown(tenant: str, models: tuple[str, ...]) -> None:
    """Warn about models of a token that lead nowhere now. The token is created, so a failed lookup is no error."""
    query = ListModels(tenant=tenant, allowed_models=list(models), unavailable=True)
    with suppress(Refused, BusError):
        unknown = run(lambda me: me.ask(MODEL_LIST, query), tenant=tenant).unknown
        if unknown:
            click.echo(
                f"warning: {tenant} has no such model now: {', '.join(unknown)} (`keyferry models --tenant {tenant}`)",
                err=True,
            )
