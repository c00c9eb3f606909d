"""`keyferry tokens`: tokens are generated here, registered by their digest, and shown once."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from keyferry.cli.connection import run
from keyferry.cli.limits import describe_limits, limit_changes, limit_options
from keyferry.cli.problem import Problem
from keyferry.cli.secret_file import secret_file
from keyferry.cli.terminal import EXPIRY_HELP, format_table, format_time, json_option, parse_expiry, tenant_option
from keyferry.contracts import client_token, ids
from keyferry.contracts.limits import LimitChange, LimitChanges
from keyferry.contracts.route import ListModels
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import (
    ClientToken,
    CreateClientToken,
    ListClientTokens,
    RevokeClientToken,
    UpdateClientToken,
)
from keyferry.contracts.topology import MODEL_LIST, TOKEN_CREATE, TOKEN_LIST, TOKEN_REVOKE, TOKEN_UPDATE
from keyferry.runtime.bus.requests import BusError, Refused

_LAST = 4


@click.group()
def command() -> None:
    """Manage client tokens, the credentials of a tenant's programs."""


@command.command()
@tenant_option
@click.option("--label", default="command line", show_default=True, help="What it is for.")
@click.option("--model", "models", multiple=True, help="A model that it may use; repeatable. Default: all models.")
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
    if output is None:
        created = run(lambda me: me.ask(TOKEN_CREATE, command), tenant=tenant)
    else:
        with secret_file(output, token):
            created = run(lambda me: me.ask(TOKEN_CREATE, command), tenant=tenant)
    if models:
        _warn_unknown(tenant, models)
    if as_json:
        shown = {"token": token.reveal()} if output is None else {"token_file": str(output)}
        click.echo(_json(created, shown))
        return
    click.echo(f"created {created.token_id} for {created.tenant}: {created.label}, {_models(created)}", err=True)
    if output is not None:
        click.echo(f"the token is in {output}, which only you can read", err=True)
        return
    click.echo(token.reveal())
    click.echo("Save it now: it is not shown again and cannot be recovered, only revoked.", err=True)


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
    rows = [
        (
            t.token_id,
            t.label,
            f"…{t.last4}",
            _models(t),
            describe_limits(t.limits),
            _scopes(t),
            format_time(t.created_at),
            format_time(t.expires_at),
            describe_state(t, now),
        )
        for t in found.tokens
    ]
    heads = ("TOKEN ID", "LABEL", "ENDS IN", "MODELS", "LIMITS", "TEAM, MEMBER", "CREATED", "EXPIRES", "STATE")
    click.echo(
        format_table(
            heads, rows, empty=f"{tenant} has no client tokens: `keyferry tokens create --tenant {tenant}` makes one"
        )
    )


@command.command("limit")
@click.argument("token_id")
@tenant_option
@limit_options
@json_option
def limit(
    token_id: str,
    tenant: str,
    rpm: LimitChange | None,
    tpm: LimitChange | None,
    concurrency: LimitChange | None,
    as_json: bool,
) -> None:
    """Set the limits of TOKEN_ID, which apply besides the tenant's. Options that are not given stay as they are."""
    _check_id(token_id, tenant)
    limits = limit_changes(rpm, tpm, concurrency)
    if limits is None:
        raise Problem("nothing to set", "Give --rpm, --tpm or --concurrency: a number, unlimited or default")
    command = UpdateClientToken(tenant=tenant, token_id=token_id, limits=limits)
    changed = run(lambda me: me.ask(TOKEN_UPDATE, command), tenant=tenant)
    click.echo(
        changed.model_dump_json(indent=2)
        if as_json
        else f"set {changed.token_id} ({changed.label}): limits {describe_limits(changed.limits)}"
    )


@command.command()
@click.argument("token_id")
@tenant_option
@json_option
def revoke(token_id: str, tenant: str, as_json: bool) -> None:
    """Revoke TOKEN_ID, as `keyferry tokens list` shows it."""
    _check_id(token_id, tenant)
    revoked = run(lambda me: me.ask(TOKEN_REVOKE, RevokeClientToken(tenant=tenant, token_id=token_id)), tenant=tenant)
    click.echo(
        revoked.model_dump_json(indent=2)
        if as_json
        else f"revoked {revoked.token_id} ({revoked.label}) as of {format_time(revoked.revoked_at)}"
    )


def _check_id(token_id: str, tenant: str) -> None:
    if not token_id.startswith(f"{ids.CLIENT_TOKEN}_"):
        # Nothing is sent or repeated: the argument may be the token itself.
        raise Problem(
            f"that is not a token id, which begins with {ids.CLIENT_TOKEN}_",
            f"`keyferry tokens list --tenant {tenant}` shows each token's id beside its last characters",
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


def describe_state(token: ClientToken, now: datetime) -> str:
    """Return `active`, `expired` or `revoked`."""
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "active"


def _models(token: ClientToken) -> str:
    return "all models" if token.allowed_models is None else ", ".join(token.allowed_models)


def _scopes(token: ClientToken) -> str:
    return ", ".join(name for name in (token.team, token.member) if name is not None)


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


def _json(token: ClientToken, more: dict[str, str]) -> str:
    import json

    return json.dumps(token.model_dump(mode="json") | more, indent=2)
