"""Client tokens for people: their state and scopes, and a new secret, which is shown once."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click

from keyferry.cli.limits import describe_limits
from keyferry.cli.secret_file import secret_file
from keyferry.cli.terminal import format_time
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import ClientToken

HEADS = (
    "TOKEN ID",
    "LABEL",
    "ENDS IN",
    "MAY USE",
    "LIMITS",
    "TEAM, MEMBER",
    "CREATED",
    "EXPIRES",
    "LAST USED",
    "STATE",
)


def describe_row(token: ClientToken, now: datetime) -> tuple[str, ...]:
    """Return the cells of a token's row under HEADS."""
    return (
        token.token_id,
        token.label,
        f"…{token.last4}" + (f", …{token.previous.last4}" if token.previous else ""),
        describe_scopes(token),
        describe_limits(token.limits),
        ", ".join(name for name in (token.team, token.member) if name is not None),
        format_time(token.created_at),
        format_time(token.expires_at),
        "-" if token.last_used_at is None else format_time(token.last_used_at),
        describe_state(token, now),
    )


def describe_state(token: ClientToken, now: datetime) -> str:
    """Return `active`, `disabled`, `expired` or `revoked`, and until when an earlier secret is accepted, too."""
    if token.revoked_at is not None:
        return "revoked"
    if token.disabled_at is not None:
        return "disabled"
    if token.expires_at is not None and token.expires_at <= now:
        return "expired"
    if token.previous is not None and token.previous.valid_until > now:
        return f"active, …{token.previous.last4} until {format_time(token.previous.valid_until)}"
    return "active"


def describe_scopes(token: ClientToken) -> str:
    """Return what a token is limited to."""
    named = {
        "": token.allowed_models,
        "operations ": token.allowed_operations,
        "only ": token.allowed_apis,
        "pages ": token.allowed_origins,
    }
    parts = [f"{what}{', '.join(names)}" for what, names in named.items() if names is not None]
    return "; ".join(parts if token.allowed_models is not None else ["all models", *parts])


def register_secret(
    token: Secret, output: Path | None, register: Callable[[], ClientToken], done: str, as_json: bool
) -> ClientToken:
    """Register a token that was minted here, and show it or write it to `output`. Raises Problem.

    A token that was not registered leaves no file. `done` says what was done: `created`.
    """
    if output is None:
        registered = register()
    else:
        with secret_file(output, token):
            registered = register()
    if as_json:
        shown = {"token": token.reveal()} if output is None else {"token_file": str(output)}
        click.echo(json.dumps(registered.model_dump(mode="json") | shown, indent=2))
        return registered
    named = f"{registered.token_id} for {registered.tenant}: {registered.label}, {describe_scopes(registered)}"
    click.echo(f"{done} {named}", err=True)
    if registered.previous is not None:
        until = format_time(registered.previous.valid_until)
        click.echo(f"the secret that ends in {registered.previous.last4} is accepted until {until}", err=True)
    if output is not None:
        click.echo(f"the token is in {output}, which only you can read", err=True)
    else:
        click.echo(token.reveal())
        click.echo("Save it now: it is not shown again and cannot be recovered, only revoked.", err=True)
    return registered
