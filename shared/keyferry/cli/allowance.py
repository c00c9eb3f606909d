"""`keyferry allowance`."""

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_time, json_option, tenant_option
from keyferry.contracts.charges import AllowanceState, GetAllowance
from keyferry.contracts.ledger_management import ALLOWANCE_GET


@click.command()
@tenant_option
@json_option
def command(tenant: str, as_json: bool) -> None:
    """Show how many free requests on the platform's keys a tenant has left in this month."""
    found = run(lambda me: me.ask(ALLOWANCE_GET, GetAllowance(tenant=tenant)), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_allowance(found)))


def format_allowance(found: AllowanceState) -> list[str]:
    """Return the numbers of a month, and the notice if there is one."""
    if not found.requests:
        return [f"{found.tenant}: its tier has no free requests"]
    held = f", {found.held} held for requests that run" if found.held else ""
    line = f"{found.tenant}, {found.month}: {found.used} of {found.requests} free requests used{held}"
    return [f"{line}; next ones from {format_time(found.resets_at)}", *([found.notice] if found.notice else [])]
