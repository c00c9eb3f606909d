"""`keyferry models`."""

import click

from keyferry.cli.connection import run
from keyferry.cli.options import json_option, tenant_option
from keyferry.cli.tabular import table
from keyferry.contracts.route import ListModels, Models
from keyferry.contracts.topology import MODEL_LIST


@click.command()
@tenant_option
@json_option
def command(tenant: str, as_json: bool) -> None:
    """What a tenant can call now."""
    found = run(lambda me: me.ask(MODEL_LIST, ListModels(tenant=tenant), Models))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    rows = [(model.id, model.endpoint or model.provider, model.key_source.value) for model in found.models]
    empty = f"{tenant} can call nothing: it is unknown or suspended (`keyferry tenants list`)"
    click.echo(table(("MODEL", "FROM", "KEY"), rows, empty=empty))
