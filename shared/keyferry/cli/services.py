"""`keyferry services`: a tenant's own programs on the bus. Their keys are generated here, and only the public halves are sent."""

import json
from pathlib import Path

import click

from keyferry.cli.connection import run
from keyferry.cli.control import send_command
from keyferry.cli.installation import Installation, locate
from keyferry.cli.member_connection import choose_session
from keyferry.cli.problem import Problem
from keyferry.cli.secret_file import secret_file
from keyferry.cli.terminal import format_table, format_time, json_option, tenant_option
from keyferry.client.credentials import ServiceCredentials, generate
from keyferry.contracts.internal_services import (
    INTERNAL_SERVICE_CREATE,
    INTERNAL_SERVICE_LIST,
    INTERNAL_SERVICE_REVOKE,
    CreateInternalService,
    InternalService,
    ListInternalServices,
    RevokeInternalService,
)
from keyferry.contracts.topology import internal_client

_SCREEN = "-"
_APPLY_SECONDS = 30.0
_ELSEWHERE = "`docker compose run --rm users`, then `docker compose kill --signal HUP nats` (docs/guides/containers.md)"


@click.group()
def command() -> None:
    """Manage internal services, a tenant's own programs that call over the bus."""


@command.command()
@click.argument("name")
@tenant_option
@click.option("--operation", "operations", multiple=True, help="An operation that it is for, as a note; repeatable.")
@click.option(
    "--output",
    help="The new file for its credentials (mode 0600); `-` shows them instead. Default: TENANT-NAME.credentials.json here.",
)
@click.option("--nats-url", help="The bus that it connects to. Default: that of the installation here.")
@json_option
def create(
    name: str, tenant: str, operations: tuple[str, ...], output: str | None, nats_url: str | None, as_json: bool
) -> None:
    """Create the internal service NAME. Its credentials are written only once."""
    installation = _operated()
    credentials = _generate(_bus_of(installation, nats_url), tenant, name)
    command = CreateInternalService(
        tenant=tenant,
        name=name,
        nkey_public=credentials.nkey_public,
        grant_public_key=credentials.grant_public_key,
        operations=list(operations) or None,
    )
    file = None if output == _SCREEN else Path(output or f"{tenant}-{name}.credentials.json")
    if file is None:
        created = _register(installation, command)
        click.echo(credentials.to_text().reveal())
    else:
        with secret_file(file, credentials.to_text()):
            created = _register(installation, command)
    if as_json and file is not None:
        click.echo(json.dumps(created.model_dump(mode="json") | {"credentials_file": str(file)}, indent=2))
    elif not as_json:
        where = f"its credentials are in {file}, which only you can read" if file else "save its credentials now"
        click.echo(f"created {name} of {tenant}: {where}. They are not shown again, only revoked", err=True)
    if installation is None:
        click.echo("NATS accepts it within seconds", err=True)
        return
    try:
        _apply(installation)
    except Problem as problem:
        click.echo(f"NATS accepts it once its users are rendered again: {problem.what}. {problem.remedy}", err=True)


@command.command("list")
@tenant_option
@click.option("--revoked", is_flag=True, help="Show revoked ones as well.")
@json_option
def list_(tenant: str, revoked: bool, as_json: bool) -> None:
    """List a tenant's internal services."""
    query = ListInternalServices(tenant=tenant, revoked=revoked)
    found = run(lambda me: me.ask(INTERNAL_SERVICE_LIST, query), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    rows = [
        (
            one.name,
            internal_client(one.tenant, one.name),
            "" if one.operations is None else ", ".join(one.operations),
            format_time(one.created_at),
            one.created_by,
            f"revoked {format_time(one.revoked_at)}" if one.revoked_at else "active",
        )
        for one in found.services
    ]
    heads = ("NAME", "NATS USER", "OPERATIONS", "CREATED", "BY", "STATE")
    empty = f"{tenant} has no internal services: `keyferry services create NAME --tenant {tenant}` makes one"
    click.echo(format_table(heads, rows, empty=empty))


@command.command()
@click.argument("name")
@tenant_option
@json_option
def revoke(name: str, tenant: str, as_json: bool) -> None:
    """Revoke the internal service NAME: its connections are closed, and its keys are never accepted again."""
    installation = _operated()
    command = RevokeInternalService(tenant=tenant, name=name)
    revoked = run(lambda me: me.ask(INTERNAL_SERVICE_REVOKE, command), installation, tenant=tenant)
    click.echo(
        revoked.model_dump_json(indent=2)
        if as_json
        else f"revoked {revoked.name} of {revoked.tenant} as of {format_time(revoked.revoked_at)}"
    )
    if installation is None:
        click.echo("NATS closes its connections within seconds", err=True)
        return
    try:
        _apply(installation)
    except Problem as problem:
        raise Problem(
            f"{name} is revoked, but NATS still has its user and its connections: {problem.what}", problem.remedy
        ) from None


def _operated() -> Installation | None:
    """Return the installation that the operator uses, or None for a signed-in member. Raises Problem."""
    return locate() if choose_session() is None else None


def _bus_of(installation: Installation | None, given: str | None) -> str:
    if given is not None:
        return given
    if installation is None:
        raise Problem(
            "a program connects to the bus, and the console does not say where that is",
            "Give --nats-url: the operator of the installation knows the address",
        )
    return installation.nats_url


def _generate(nats_url: str, tenant: str, name: str) -> ServiceCredentials:
    try:
        return generate(nats_url, tenant, name)
    except ValueError as error:
        raise Problem(str(error)) from None


def _register(installation: Installation | None, command: CreateInternalService) -> InternalService:
    return run(lambda me: me.ask(INTERNAL_SERVICE_CREATE, command), installation, tenant=command.tenant)


def _apply(installation: Installation) -> None:
    """Have the server's users rendered and read again. Raises Problem, which says how it is done without a launcher."""
    try:
        for _ in send_command(installation.run_dir, {"command": "users"}, _APPLY_SECONDS):
            pass
    except Problem as problem:
        raise Problem(problem.what, f"In containers: {_ELSEWHERE}") from None
