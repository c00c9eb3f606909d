"""`keyferry providers`: the providers that can be called, those that an operator added among them."""

import click

from keyferry.cli.connection import run
from keyferry.cli.endpoints import reject_secrets
from keyferry.cli.terminal import format_table, json_option
from keyferry.contracts.provider_edits import (
    ListProviders,
    ProviderState,
    RestoreProvider,
    RetireProvider,
    SaveProvider,
)
from keyferry.contracts.providers import CompatibleApi
from keyferry.contracts.routing_management import PROVIDER_LIST, PROVIDER_RESTORE, PROVIDER_RETIRE, PROVIDER_SAVE


@click.group()
def command() -> None:
    """Add, list and retire providers, for all tenants."""


@command.command()
@click.argument("name")
@click.option("--base-url", required=True, help="The base URL including the version: https://api.example.com/v1.")
@click.option("--title", help="Its name for people (default: NAME).")
@click.option(
    "--api",
    type=click.Choice([each.value for each in CompatibleApi]),
    default=CompatibleApi.GENERIC.value,
    show_default=True,
    help="What implements its OpenAI-compatible API.",
)
@click.option("--key-url", help="Where to get a key.")
@click.option("--docs-url", help="Its documentation.")
@click.option("--prefix", "prefixes", multiple=True, help="What its keys begin with; repeatable.")
@click.option("--key-optional", is_flag=True, help="Calls work without a key.")
@click.option("--test-model", help="A cheap model for the last step of a key test.")
@click.option("--eu", is_flag=True, help="It processes every call inside the European Union.")
@json_option
def add(
    name: str,
    base_url: str,
    title: str | None,
    api: str,
    key_url: str | None,
    docs_url: str | None,
    prefixes: tuple[str, ...],
    key_optional: bool,
    test_model: str | None,
    eu: bool,
    as_json: bool,
) -> None:
    """Add the OpenAI-compatible provider NAME, or replace it. Its models are called as NAME/MODEL with keys for it."""
    reject_secrets(base_url)
    command = SaveProvider(
        name=name,
        title=title or name,
        base_url=base_url,
        api=CompatibleApi(api),
        key_url=key_url,
        docs_url=docs_url,
        prefixes=list(prefixes),
        key_optional=key_optional,
        test_model=test_model,
        eu=eu,
    )
    _show(run(lambda me: me.ask(PROVIDER_SAVE, command)), "saved", as_json)


@command.command()
@click.argument("name")
@click.option("--reason", help="Shown to those who ask for its models.")
@json_option
def retire(name: str, reason: str | None, as_json: bool) -> None:
    """Stop using the provider NAME. Keys for it stay stored; its offerings are not used."""
    _show(run(lambda me: me.ask(PROVIDER_RETIRE, RetireProvider(name=name, reason=reason))), "retired", as_json)


@command.command()
@click.argument("name")
@json_option
def restore(name: str, as_json: bool) -> None:
    """Use the retired provider NAME again."""
    _show(run(lambda me: me.ask(PROVIDER_RESTORE, RestoreProvider(name=name))), "restored", as_json)


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List every provider."""
    found = run(lambda me: me.ask(PROVIDER_LIST, ListProviders()))
    if as_json:
        click.echo(found.model_dump_json(indent=2, exclude_none=True))
        return
    heads = ("NAME", "TITLE", "BASE URL", "STATE", "NOTES")
    rows = [
        (one.name, one.title, one.base_url or "with each key", _describe(one), _notes(one)) for one in found.providers
    ]
    click.echo(format_table(heads, rows, empty="there are no providers: the router's installation is incomplete"))


def _describe(state: ProviderState) -> str:
    return "retired" if state.retired else "bundled" if state.bundled else "added"


def _notes(state: ProviderState) -> str:
    added = state.entry.added if state.entry else None
    notes = [state.reason] if state.reason else []
    notes += ["eu"] if added is not None and added.eu else []
    return "; ".join(notes)


def _show(state: ProviderState, done: str, as_json: bool) -> None:
    if as_json:
        click.echo(state.model_dump_json(indent=2, exclude_none=True))
        return
    click.echo(f"{done} {state.name}: {state.title}{f', {state.base_url}' if state.base_url else ''}")
    if not state.retired and not state.bundled:
        click.echo(f"keys: `keyferry keys add --provider {state.name} --tenant TENANT`")
