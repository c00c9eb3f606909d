"""`keyferry tokens`: changes of client tokens that exist already."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from keyferry.cli.connection import run
from keyferry.cli.limits import describe_limits, limit_changes, limit_options
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import EXPIRY_HELP, json_option, parse_expiry, parse_span, tenant_option
from keyferry.cli.token_options import check_token_id, scope_options, scopes
from keyferry.cli.token_output import describe_scopes, describe_state, register_secret
from keyferry.contracts import client_token
from keyferry.contracts.client_token_management import TOKEN_END_OVERLAP, TOKEN_ROTATE
from keyferry.contracts.client_token_use import MAX_OVERLAP_SECONDS, EndTokenOverlap, RotateClientToken
from keyferry.contracts.limits import LimitChange
from keyferry.contracts.tenancy import ClientToken, UpdateClientToken
from keyferry.contracts.token_scope import SCOPES
from keyferry.contracts.topology import TOKEN_UPDATE

_LAST = 4


@click.command("edit")
@click.argument("token_id")
@tenant_option
@click.option("--label", help="What it is for.")
@scope_options
@click.option("--expires", help=EXPIRY_HELP)
@click.option(
    "--clear",
    multiple=True,
    type=click.Choice([*SCOPES, "expires_at"]),
    help="Remove a restriction; repeatable.",
)
@json_option
def edit(
    token_id: str,
    tenant: str,
    label: str | None,
    models: tuple[str, ...],
    operations: tuple[str, ...],
    apis: tuple[str, ...],
    origins: tuple[str, ...],
    expires: str | None,
    clear: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change the label, the scopes or the expiry of TOKEN_ID. Options that are not given stay as they are."""
    check_token_id(token_id, tenant)
    command = UpdateClientToken.model_validate(
        {
            "tenant": tenant,
            "token_id": token_id,
            "label": label,
            **scopes(models, operations, apis, origins),
            "expires_at": None if expires is None else parse_expiry(expires, datetime.now(UTC)),
            "clear": list(clear),
        }
    )
    if command == UpdateClientToken(tenant=tenant, token_id=token_id):
        raise Problem("nothing to change", "Give at least one option; `keyferry tokens edit --help` lists them")
    changed = _update(command)
    _show(changed, f"changed {changed.token_id} ({changed.label}): {describe_scopes(changed)}", as_json)


@click.command("enable")
@click.argument("token_id")
@tenant_option
@json_option
def enable(token_id: str, tenant: str, as_json: bool) -> None:
    """Accept TOKEN_ID again."""
    _set_disabled(token_id, tenant, False, as_json)


@click.command("disable")
@click.argument("token_id")
@tenant_option
@json_option
def disable(token_id: str, tenant: str, as_json: bool) -> None:
    """Refuse TOKEN_ID until it is enabled again."""
    _set_disabled(token_id, tenant, True, as_json)


@click.command("limit")
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
    check_token_id(token_id, tenant)
    limits = limit_changes(rpm, tpm, concurrency)
    if limits is None:
        raise Problem("nothing to set", "Give --rpm, --tpm or --concurrency: a number, unlimited or default")
    changed = _update(UpdateClientToken(tenant=tenant, token_id=token_id, limits=limits))
    _show(changed, f"set {changed.token_id} ({changed.label}): limits {describe_limits(changed.limits)}", as_json)


@click.command("rotate")
@click.argument("token_id")
@tenant_option
@click.option(
    "--overlap",
    default="24h",
    show_default=True,
    help="How long the old secret is accepted, too: 90s, 10m, 24h, 7d; 0 ends all older secrets at once.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write the token to this new file (mode 0600) instead of the screen.",
)
@json_option
def rotate(token_id: str, tenant: str, overlap: str, output: Path | None, as_json: bool) -> None:
    """Give TOKEN_ID a new secret. Its id, limits, scopes, budgets and usage stay.

    The old secret is accepted until the overlap ends, or `keyferry tokens end-overlap` ends it.
    """
    check_token_id(token_id, tenant)
    span = timedelta() if overlap == "0" else parse_span(overlap, timedelta(seconds=MAX_OVERLAP_SECONDS))
    token = client_token.mint()
    text = token.reveal()
    command = RotateClientToken(
        tenant=tenant,
        token_id=token_id,
        digest=client_token.digest(text),
        last4=text[-_LAST:],
        overlap_seconds=span // timedelta(seconds=1),
    )
    register_secret(
        token, output, lambda: run(lambda me: me.ask(TOKEN_ROTATE, command), tenant=tenant), "rotated", as_json
    )


@click.command("end-overlap")
@click.argument("token_id")
@tenant_option
@json_option
def end_overlap(token_id: str, tenant: str, as_json: bool) -> None:
    """Stop accepting the secret that TOKEN_ID had before its last rotation."""
    check_token_id(token_id, tenant)
    command = EndTokenOverlap(tenant=tenant, token_id=token_id)
    changed = run(lambda me: me.ask(TOKEN_END_OVERLAP, command), tenant=tenant)
    _show(changed, f"only the secret of {changed.token_id} that ends in {changed.last4} is accepted now", as_json)


def _set_disabled(token_id: str, tenant: str, disabled: bool, as_json: bool) -> None:
    check_token_id(token_id, tenant)
    changed = _update(UpdateClientToken(tenant=tenant, token_id=token_id, disabled=disabled))
    _show(changed, f"{changed.token_id} ({changed.label}) is {describe_state(changed, datetime.now(UTC))}", as_json)


def _update(command: UpdateClientToken) -> ClientToken:
    return run(lambda me: me.ask(TOKEN_UPDATE, command), tenant=command.tenant)


def _show(token: ClientToken, text: str, as_json: bool) -> None:
    click.echo(token.model_dump_json(indent=2) if as_json else text)
