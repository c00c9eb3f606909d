"""`keyferry endpoints`: a tenant's own OpenAI-compatible servers."""

import click

from keyferry.cli.connection import run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, json_option, tenant_option
from keyferry.contracts.origin import may_hold_a_secret
from keyferry.contracts.route import Endpoint, ListEndpoints, ProbeOutcome, RemoveEndpoint, SavedEndpoint, SaveEndpoint
from keyferry.contracts.topology import ENDPOINT_LIST, ENDPOINT_REMOVE, ENDPOINT_SAVE

_SAVE_SECONDS = 20.0
"""A probe takes at most ten."""


@click.group()
def command() -> None:
    """Manage a tenant's own OpenAI-compatible servers, such as vLLM, Ollama or a company gateway."""


@command.command()
@click.argument("name")
@click.option("--base-url", required=True, help="The base URL including the version: http://localhost:11434/v1.")
@click.option("--model", "models", multiple=True, help="A model to offer under its own name; repeatable.")
@click.option("--priority", default=100, show_default=True, help="Lower is used first, 0 to 1000.")
@click.option(
    "--probe/--no-probe",
    default=True,
    show_default=True,
    help="Try the address first, and save nothing that cannot work.",
)
@click.option("--disabled", is_flag=True, help="Save it, but do not use it.")
@click.option("--eu", is_flag=True, help="It processes requests inside the European Union.")
@tenant_option
@json_option
def add(
    name: str,
    base_url: str,
    models: tuple[str, ...],
    priority: int,
    probe: bool,
    disabled: bool,
    eu: bool,
    tenant: str,
    as_json: bool,
) -> None:
    """Add or replace the endpoint NAME. All its models can be called as `NAME/<model>`."""
    reject_secrets(base_url)
    command = SaveEndpoint(
        tenant=tenant,
        name=name,
        base_url=base_url,
        models=list(models),
        priority=priority,
        enabled=not disabled,
        eu=eu,
        probe=probe,
    )
    saved = run(lambda me: me.ask(ENDPOINT_SAVE, command, timeout_seconds=_SAVE_SECONDS), tenant=tenant)
    if as_json:
        click.echo(saved.model_dump_json(indent=2))
        return
    click.echo(f"saved {saved.name}: {saved.base_url}, {_models(saved)}{_found(saved)}")
    for warning in saved.warnings:
        click.echo(f"warning: {warning}", err=True)


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List a tenant's endpoints, in the order in which they are used."""
    found = run(lambda me: me.ask(ENDPOINT_LIST, ListEndpoints(tenant=tenant)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    rows = [
        (e.name, e.base_url, _models(e), str(e.priority), "yes" if e.eu else "", "on" if e.enabled else "off")
        for e in found.endpoints
    ]
    heads = ("NAME", "BASE URL", "MODELS", "PRIORITY", "EU", "STATE")
    click.echo(
        format_table(
            heads, rows, empty=f"{tenant} has no endpoints: `keyferry endpoints add --tenant {tenant}` adds one"
        )
    )


@command.command()
@click.argument("name")
@tenant_option
@json_option
def rm(name: str, tenant: str, as_json: bool) -> None:
    """Remove the endpoint NAME."""
    removed = run(lambda me: me.ask(ENDPOINT_REMOVE, RemoveEndpoint(tenant=tenant, name=name)), tenant=tenant)
    click.echo(removed.model_dump_json(indent=2) if as_json else f"removed {removed.name}")


def reject_secrets(base_url: str) -> None:
    """Reject a URL that may contain a secret before it crosses the bus. Raises Problem."""
    if may_hold_a_secret(base_url):
        raise Problem(
            "the base URL must not contain a user name, a password, '?' or '#'; nothing was sent",
            "Give scheme, host, port and path only: https://llm.example.com/v1",
        )


def _found(saved: SavedEndpoint) -> str:
    """Return what was found at the address."""
    if saved.probe is None or saved.probe.outcome is not ProbeOutcome.LISTED:
        return ""
    count = len(saved.probe.models)
    return f"; the server answers, and lists {count} model{'' if count == 1 else 's'}"


def _models(endpoint: Endpoint) -> str:
    return ", ".join(endpoint.models) or f"{endpoint.name}/<model>"
