"""`keyferry models add`, `edit`, `retire` and the like: the catalog, which operators change."""

import tomllib
from pathlib import Path
from typing import Any

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.model_options import CLEARABLE, as_document, given_fields, model_options
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, json_option
from keyferry.contracts.catalog import CatalogModel
from keyferry.contracts.catalog_edits import (
    CatalogState,
    CatalogStates,
    ListCatalog,
    RemoveModel,
    RestoreModel,
    RetireModel,
    SaveCatalogModel,
)
from keyferry.contracts.routing_management import (
    CATALOG_LIST,
    CATALOG_REMOVE,
    CATALOG_RESTORE,
    CATALOG_RETIRE,
    CATALOG_SAVE,
)

_DEFAULTS: dict[str, Any] = {
    "description": "Added by the operator of this installation.",
    "best_for": ["general use"],
    "class": "balanced",
    "capabilities": ["chat"],
    "tier": "enterprise",
}
"""Of a model that is added without saying more: the highest tier, so that nobody is given it by mistake."""
_OWN = ("id", "title", "aliases", "offerings", "recommended", "default")
"""What a model does not take over from the one that it is like."""


@click.command()
@click.argument("model_id", metavar="MODEL")
@click.option("--file", "file", type=click.Path(path_type=Path), help="A TOML file with the fields of a model.")
@click.option("--like", metavar="OTHER", help="Take over what is not given from this model, as for a fine-tuned one.")
@model_options
@json_option
def add(model_id: str, file: Path | None, like: str | None, as_json: bool, **options: Any) -> None:
    """Add MODEL to the catalog, for all tenants of its tier. It needs at least one --offering."""
    given = {**(_read(file) if file else {}), **given_fields(options)}

    async def work(me: Connection) -> CatalogState:
        states = (await me.ask(CATALOG_LIST, ListCatalog())).models
        if any(state.model.id == model_id for state in states):
            raise Problem(f"the catalog has {model_id} already", f"Change it with `keyferry models edit {model_id}`")
        base = {} if like is None else as_document(_find(states, like).model)
        taken = {name: value for name, value in base.items() if name not in _OWN}
        document = {**_DEFAULTS, "title": model_id, **taken, **given, "id": model_id}
        if missing := [name for name in ("maker", "offerings") if name not in document]:
            raise Problem(
                f"a new model needs {' and '.join(missing)}",
                "Give --maker NAME and --offering PROVIDER/MODEL; --like OTHER takes over the maker and more",
            )
        return await me.ask(CATALOG_SAVE, _save(document, 0))

    _show(run(work), "added", as_json)


@click.command()
@click.argument("model_id", metavar="MODEL")
@click.option(
    "--clear", multiple=True, type=click.Choice(CLEARABLE), help="Leave a field unknown or empty; repeatable."
)
@model_options
@json_option
def edit(model_id: str, clear: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Change MODEL for all tenants. What is not given stays; options that are repeatable replace the whole list."""
    given = given_fields(options)
    if not given and not clear:
        raise Problem("nothing to change", "Give at least one option; `keyferry models edit --help` lists them")

    async def work(me: Connection) -> CatalogState:
        state = _find((await me.ask(CATALOG_LIST, ListCatalog())).models, model_id)
        document = {name: value for name, value in as_document(state.model).items() if name not in clear}
        return await me.ask(CATALOG_SAVE, _save({**document, **given}, state.revision))

    _show(run(work), "changed", as_json)


@click.command()
@click.argument("model_id", metavar="MODEL")
@click.option("--replacement", metavar="OTHER", help="The model to name to those who ask for it.")
@click.option("--serve", "serve_replacement", is_flag=True, help="Let the replacement answer requests for it.")
@json_option
def retire(model_id: str, replacement: str | None, serve_replacement: bool, as_json: bool) -> None:
    """Stop offering MODEL. Requests for it are refused with the reason, or answered by its replacement."""
    command = RetireModel(id=model_id, replacement=replacement, serve_replacement=serve_replacement)
    _show(run(lambda me: me.ask(CATALOG_RETIRE, command)), "retired", as_json)


@click.command()
@click.argument("model_id", metavar="MODEL")
@json_option
def restore(model_id: str, as_json: bool) -> None:
    """Offer MODEL again, as it was before it was retired."""
    _show(run(lambda me: me.ask(CATALOG_RESTORE, RestoreModel(id=model_id))), "restored", as_json)


@click.command()
@click.argument("model_id", metavar="MODEL")
@json_option
def rm(model_id: str, as_json: bool) -> None:
    """Undo every change of MODEL: one that this version of Keyferry has is as it was, any other is gone."""
    _show(run(lambda me: me.ask(CATALOG_REMOVE, RemoveModel(id=model_id))), "removed the changes of", as_json)


@click.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the whole catalog, with what operators changed and retired."""
    found = run(lambda me: me.ask(CATALOG_LIST, ListCatalog()))
    if as_json:
        click.echo(found.model_dump_json(indent=2, exclude_none=True))
        return
    click.echo(_table(found))


def _table(found: CatalogStates) -> str:
    heads = ("MODEL", "STATE", "TIER", "OFFERINGS", "REVISION", "NOTES")
    rows = [
        (
            state.model.id,
            _describe(state),
            state.model.tier.value,
            ", ".join(dict.fromkeys(offering.provider for offering in state.model.offerings)),
            str(state.revision) if state.revision else "-",
            "; ".join(_notes(state)),
        )
        for state in found.models
    ]
    return format_table(heads, rows, empty="the catalog is empty: the router's installation is incomplete")


def _describe(state: CatalogState) -> str:
    if state.retirement is not None:
        return "retired"
    return "bundled" if not state.changed else "changed" if state.bundled else "added"


def _notes(state: CatalogState) -> list[str]:
    notes = ["default"] if state.model.default else []
    if state.retirement is not None and state.retirement.replacement is not None:
        verb = "served by" if state.retirement.serve_replacement else "use"
        notes.append(f"{verb} {state.retirement.replacement}")
    if state.problem is not None:
        notes.append(f"the change is not in force: {state.problem}")
    return notes


def _find(states: list[CatalogState], name: str) -> CatalogState:
    for state in states:
        if name in (state.model.id, *state.model.aliases):
            return state
    raise Problem("the catalog has no model of that name", "`keyferry models list` shows all of them")


def _save(document: dict[str, Any], revision: int | None = None) -> SaveCatalogModel:
    model = CatalogModel.model_validate(document)
    return SaveCatalogModel(model=model, move_default=model.default, expected_revision=revision)


def _read(file: Path) -> dict[str, Any]:
    """Return the fields of a model in a TOML file. Raises Problem."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Problem(f"cannot read {file}: {error.strerror}", "Give the path of a TOML file") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Problem(f"{file} is not TOML: {error}", 'Write fields such as `title = "My model"`') from None


def _show(state: CatalogState, done: str, as_json: bool) -> None:
    if as_json:
        click.echo(state.model_dump_json(indent=2, exclude_none=True))
        return
    notes = "; ".join(_notes(state))
    click.echo(f"{done} {state.model.id}: {_describe(state)}{f', {notes}' if notes else ''}")
    for warning in state.warnings:
        click.echo(f"warning: {warning}", err=True)
