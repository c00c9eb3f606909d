"""`keyferry models`: what a tenant can call, and below it the catalog, which operators change."""

import click

from keyferry.cli import model_edits
from keyferry.cli.connection import Connection, run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, json_option, tenant_option
from keyferry.contracts.catalog import Capability, ModelClass, ModelSort
from keyferry.contracts.key import ListKeys
from keyferry.contracts.money import plain
from keyferry.contracts.provider_edits import ListProviders
from keyferry.contracts.route import ListEndpoints, ListModels, Model, ModelPrices, Models
from keyferry.contracts.routing_management import PROVIDER_LIST
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.topology import ENDPOINT_LIST, KEY_LIST, MODEL_LIST

_ECHO = "echo"
"""The built-in provider, for which there are no keys."""


@click.group(invoke_without_command=True)
@click.option("--eu", is_flag=True, help="Only models that can be called inside the European Union.")
@click.option(
    "--recommended", metavar="OPERATION", help="Only models recommended for OPERATION (`any` for all operations)."
)
@click.option("--provider", metavar="NAME", help="Only models of this provider or endpoint.")
@click.option("--tier", type=click.Choice([each.value for each in Tier]), help="Only models of this tier.")
@click.option(
    "--class", "model_class", type=click.Choice([each.value for each in ModelClass]), help="Only models of this class."
)
@click.option(
    "--capability", type=click.Choice([each.value for each in Capability]), help="Only models with this capability."
)
@click.option("--all", "unavailable", is_flag=True, help="Also approved models that no key can be used for.")
@click.option("--unapproved", is_flag=True, help="Also models outside the catalog that the tenant's own keys list.")
@click.option("--sort", type=click.Choice([each.value for each in ModelSort]), help="The order (default: popularity).")
@tenant_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    eu: bool,
    recommended: str | None,
    provider: str | None,
    tier: str | None,
    model_class: str | None,
    capability: str | None,
    unavailable: bool,
    unapproved: bool,
    sort: str | None,
    tenant: str,
    as_json: bool,
) -> None:
    """List the models that a tenant can call now. The commands below change the catalog for all tenants."""
    if context.invoked_subcommand is not None:
        return
    command = ListModels(
        tenant=tenant,
        eu=eu or None,
        recommended=recommended,
        provider=provider,
        tier=Tier(tier) if tier else None,
        model_class=ModelClass(model_class) if model_class else None,
        capability=Capability(capability) if capability else None,
        unavailable=unavailable or None,
        unapproved=unapproved or None,
        sort=ModelSort(sort) if sort else None,
    )

    async def work(me: Connection) -> Models:
        found = await me.ask(MODEL_LIST, command)
        if provider is not None and not found.models:
            await _require_source(me, tenant, provider)
        return found

    found = run(work, tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2, exclude_none=True))
        return
    empty = f"{tenant} can call no such model; an empty list without filters means that the tenant is suspended"
    heads = ("MODEL", "FROM", "KEY", "CLASS", "CONTEXT", "TIER", "IN", "OUT", "CACHED", "NOTES")
    click.echo(format_table(heads, [_row(model) for model in found.models], empty=f"{empty} (`keyferry tenants list`)"))
    versions = dict.fromkeys(model.prices.price_version for model in found.models if model.prices is not None)
    if versions:
        click.echo(f"\nIN, OUT, CACHED: US dollars per million tokens, list prices ({', '.join(versions)})")


for _each in (
    model_edits.add,
    model_edits.edit,
    model_edits.list_,
    model_edits.restore,
    model_edits.retire,
    model_edits.rm,
):
    command.add_command(_each)


async def _require_source(me: Connection, tenant: str, name: str) -> None:
    """Raise Problem if `name` is neither a provider nor an endpoint or a key's server of the tenant."""
    endpoints = [one.name for one in (await me.ask(ENDPOINT_LIST, ListEndpoints(tenant=tenant))).endpoints]
    servers = [key.name for key in (await me.ask(KEY_LIST, ListKeys(tenant=tenant))).keys if key.name is not None]
    providers = [one.name for one in (await me.ask(PROVIDER_LIST, ListProviders())).providers]
    names = [_ECHO, *providers, *endpoints, *servers]
    if name not in names:
        raise Problem(f"{tenant} has no provider or endpoint {name!r}", f"There are {', '.join(names)}")


def _row(model: Model) -> tuple[str, ...]:
    """Return a model as one row, with its providers and key sources in order of use."""
    return (
        model.id,
        model.endpoint or ", ".join(model.providers) or model.provider,
        ", ".join(model.key_sources) or model.key_source,
        model.model_class or "-",
        "-" if model.context_tokens is None else f"{model.context_tokens:,}",
        model.tier or "-",
        *_prices(model.prices),
        ", ".join(_notes(model)),
    )


def _prices(prices: ModelPrices | None) -> tuple[str, str, str]:
    """Return the prices for input, output and cached input, with a dash for an unknown price."""
    if prices is None:
        return "-", "-", "-"
    amounts = (prices.input_usd, prices.output_usd, prices.cached_read_usd)
    first, second, third = ("-" if amount is None else plain(amount) for amount in amounts)
    return first, second, third


def _notes(model: Model) -> list[str]:
    notes = {
        "no key": model.approved and not model.available,
        "not allowed": not model.approved and not model.available,
        "not approved": not model.approved,
        "eu": model.eu,
        "default": model.default,
        "chooses a model": model.virtual,
    }
    return [note for note, holds in notes.items() if holds]
