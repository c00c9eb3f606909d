"""`keyferry tenants delete` and `keyferry tenants deletion-report`."""

import click

from keyferry.cli.connection import run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, json_option
from keyferry.contracts.erasure import DeleteTenant, GetDeletion, TenantDeletion, Treatment
from keyferry.contracts.erasure_management import TENANT_DELETE, TENANT_DELETION_GET

_STATES = {True: "done", False: "under way"}


@click.command()
@click.argument("tenant")
@click.option("--confirm", required=True, metavar="TENANT", help="The same id again: nothing brings the tenant back.")
@json_option
def delete(tenant: str, confirm: str, as_json: bool) -> None:
    """Delete TENANT for good: no request of it passes from now on, and its keys are destroyed."""
    if confirm != tenant:
        raise Problem(f"--confirm is not {tenant}", "Give the id of the tenant twice; nothing was deleted")
    command = DeleteTenant(tenant=tenant, confirm=confirm)
    _show(run(lambda me: me.ask(TENANT_DELETE, command), tenant=tenant), as_json)


@click.command("deletion-report")
@click.argument("tenant")
@json_option
def report(tenant: str, as_json: bool) -> None:
    """Show what the deletion of TENANT has removed, what is kept, and why."""
    _show(run(lambda me: me.ask(TENANT_DELETION_GET, GetDeletion(tenant=tenant)), tenant=tenant), as_json)


def _show(found: TenantDeletion, as_json: bool) -> None:
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    end = "under way" if found.finished_at is None else f"finished at {found.finished_at:%Y-%m-%d %H:%M:%S} UTC"
    click.echo(f"deletion of {found.tenant}: {end}")
    click.echo(f"requested by {found.requested_by} at {found.requested_at:%Y-%m-%d %H:%M:%S} UTC")
    rows = [
        (part.service, table.table, table.treatment.value, str(table.found), str(table.left), table.reason)
        for part in found.parts
        for table in part.tables
        if table.found or table.treatment is not Treatment.KEPT
    ]
    heads = ("SERVICE", "TABLE", "ROWS ARE", "FOUND", "LEFT", "WHAT, AND WHY IT IS KEPT")
    click.echo(format_table(heads, rows, empty="nothing is counted yet"))
    for part in found.parts:
        detail = f": {part.waits_for}" if part.waits_for and not part.done else ""
        click.echo(f"{part.service}: {_STATES[part.done]}{detail}")
    click.echo("outside of the tables:")
    for line in found.elsewhere:
        click.echo(f"- {line}")
    if found.finished_at is None:
        click.echo(f"`keyferry tenants deletion-report {found.tenant}` shows how far it is")
