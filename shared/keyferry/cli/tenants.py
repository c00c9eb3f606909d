"""`keyferry tenants`."""

import click

from keyferry.cli.connection import run
from keyferry.cli.options import json_option
from keyferry.cli.problem import Problem
from keyferry.cli.tabular import table
from keyferry.contracts.tenancy import CreateTenant, ListTenants, Tenant, Tenants, Tier, UpdateTenant
from keyferry.contracts.topology import TENANT_CREATE, TENANT_LIST, TENANT_UPDATE

_TIERS = click.Choice([tier.value for tier in Tier])


@click.group()
def command() -> None:
    """Tenants: the companies that use this installation."""


@command.command()
@click.argument("tenant")
@click.option("--name", help="What people call it (default: its id).")
@click.option("--tier", type=_TIERS, default=Tier.FREE.value, show_default=True, help="What it has bought.")
@json_option
def create(tenant: str, name: str | None, tier: str, as_json: bool) -> None:
    """Add TENANT, an id of a-z, 0-9 and hyphens."""
    asked = CreateTenant(tenant=tenant, name=name or tenant, tier=Tier(tier))
    _show(run(lambda me: me.ask(TENANT_CREATE, asked, Tenant)), "created", as_json)


@command.command()
@click.argument("tenant")
@click.option("--name", help="What people call it.")
@click.option("--tier", type=_TIERS, help="What it has bought.")
@click.option("--suspend/--resume", "suspended", default=None, help="Refuse its requests, or take them again.")
@json_option
def update(tenant: str, name: str | None, tier: str | None, suspended: bool | None, as_json: bool) -> None:
    """Change TENANT; what is not given stays."""
    if name is None and tier is None and suspended is None:
        raise Problem("nothing to change", "Give --name, --tier, --suspend or --resume")
    asked = UpdateTenant(tenant=tenant, name=name, tier=Tier(tier) if tier else None, suspended=suspended)
    _show(run(lambda me: me.ask(TENANT_UPDATE, asked, Tenant)), "changed", as_json)


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """All tenants."""
    found = run(lambda me: me.ask(TENANT_LIST, ListTenants(), Tenants))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    rows = [(t.tenant, t.name, t.tier.value, _state(t)) for t in found.tenants]
    click.echo(table(("TENANT", "NAME", "TIER", "STATE"), rows, empty="no tenants: `keyferry tenants create` adds one"))


def _show(tenant: Tenant, done: str, as_json: bool) -> None:
    if as_json:
        click.echo(tenant.model_dump_json(indent=2))
    else:
        click.echo(f"{done} {tenant.tenant}: {tenant.name}, tier {tenant.tier}, {_state(tenant)}")


def _state(tenant: Tenant) -> str:
    return "suspended" if tenant.suspended else "active"
