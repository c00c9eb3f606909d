"""`keyferry tokens`: minted here, registered by their digest, shown once."""

from datetime import UTC, datetime
from pathlib import Path

import click

from keyferry.cli.connection import run
from keyferry.cli.options import json_option, tenant_option
from keyferry.cli.problem import Problem
from keyferry.cli.secret_file import secret_file
from keyferry.cli.terminal import format_table, format_time, parse_time
from keyferry.contracts import client_token, ids
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import ClientToken, CreateClientToken, ListClientTokens, RevokeClientToken
from keyferry.contracts.topology import TOKEN_CREATE, TOKEN_LIST, TOKEN_REVOKE

_LAST = 4


@click.group()
def command() -> None:
    """Client tokens: what a tenant's programs present."""


@command.command()
@tenant_option
@click.option("--label", default="command line", show_default=True, help="What it is for.")
@click.option("--model", "models", multiple=True, help="A model it may use; repeat it. Default: all of them.")
@click.option("--expires", help="When it stops to work: 2026-12-31, or 2026-12-31T12:00 (UTC).")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write the token to this new file (0600), not to the screen."
)
@json_option
def create(
    tenant: str, label: str, models: tuple[str, ...], expires: str | None, output: Path | None, as_json: bool
) -> None:
    """Make a client token. Only its digest is sent and stored, so it is shown this once."""
    token = client_token.mint()
    asked = build_registration(
        token, tenant, label, models, parse_time(expires, datetime.now(UTC)) if expires else None
    )
    if output is None:
        made = run(lambda me: me.ask(TOKEN_CREATE, asked))
    else:
        with secret_file(output, token):
            made = run(lambda me: me.ask(TOKEN_CREATE, asked))
    if as_json:
        shown = {"token": token.reveal()} if output is None else {"token_file": str(output)}
        click.echo(_json(made, shown))
        return
    click.echo(f"created {made.token_id} for {made.tenant}: {made.label}, {_models(made)}", err=True)
    if output is not None:
        click.echo(f"the token is in {output}, which only you can read", err=True)
        return
    click.echo(token.reveal())
    click.echo("Keep it now: it is not shown again and cannot be recovered, only revoked.", err=True)


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """A tenant's client tokens."""
    found = run(lambda me: me.ask(TOKEN_LIST, ListClientTokens(tenant=tenant)))
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
            format_time(t.created_at),
            format_time(t.expires_at),
            state(t, now),
        )
        for t in found.tokens
    ]
    heads = ("TOKEN ID", "LABEL", "ENDS IN", "MODELS", "CREATED", "EXPIRES", "STATE")
    click.echo(format_table(heads, rows, empty=f"{tenant} has no client tokens: `keyferry tokens create` makes one"))


@command.command()
@click.argument("token_id")
@tenant_option
@json_option
def revoke(token_id: str, tenant: str, as_json: bool) -> None:
    """Make TOKEN_ID (`keyferry tokens list`) open nothing any more."""
    if not token_id.startswith(f"{ids.CLIENT_TOKEN}_"):
        # Nothing is sent or repeated: what was given may be the token itself.
        raise Problem(
            f"that is no token id, which begins with {ids.CLIENT_TOKEN}_",
            f"`keyferry tokens list --tenant {tenant}` shows each token's id beside its last characters",
        )
    revoked = run(lambda me: me.ask(TOKEN_REVOKE, RevokeClientToken(tenant=tenant, token_id=token_id)))
    click.echo(
        revoked.model_dump_json(indent=2)
        if as_json
        else f"revoked {revoked.token_id} ({revoked.label}) as of {format_time(revoked.revoked_at)}"
    )


def build_registration(
    token: Secret, tenant: str, label: str, models: tuple[str, ...] = (), expires_at: datetime | None = None
) -> CreateClientToken:
    """What is sent of a token: its digest and its last four characters."""
    text = token.reveal()
    return CreateClientToken(
        tenant=tenant,
        label=label,
        digest=client_token.digest(text),
        last4=text[-_LAST:],
        allowed_models=list(models) or None,
        expires_at=expires_at,
    )


def state(token: ClientToken, now: datetime) -> str:
    """`active`, `expired` or `revoked`."""
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "active"


def _models(token: ClientToken) -> str:
    return "all models" if token.allowed_models is None else ", ".join(token.allowed_models)


def _json(token: ClientToken, more: dict[str, str]) -> str:
    import json

    return json.dumps(token.model_dump(mode="json") | more, indent=2)
