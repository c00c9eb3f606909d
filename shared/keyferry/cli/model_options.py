"""The options of `keyferry models add` and `edit`, and the model that they describe."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from keyferry.cli.problem import Problem
from keyferry.contracts.catalog import Capability, CatalogModel, ModelClass
from keyferry.contracts.tenancy import Tier

F = TypeVar("F", bound=Callable[..., Any])

CLEARABLE = ("aliases", "context_tokens", "dimensions", "max_output_tokens", "recommended")
_OPTIONS = (
    click.option("--title", help="Its name for people."),
    click.option("--maker", help="Who made it, such as Meta; not who offers it."),
    click.option("--description", help="One line about it."),
    click.option("--best-for", "best_for", multiple=True, help="What it is good for; repeatable."),
    click.option("--class", "model_class", type=click.Choice([each.value for each in ModelClass])),
    click.option(
        "--capability",
        "capabilities",
        multiple=True,
        type=click.Choice([each.value for each in Capability]),
        help="Repeatable.",
    ),
    click.option("--context-tokens", type=int, help="Prompt and completion together."),
    click.option("--max-output-tokens", type=int),
    click.option("--dimensions", type=int, help="Of an embedding."),
    click.option(
        "--tier", type=click.Choice([each.value for each in Tier]), help="The lowest tier on the platform's keys."
    ),
    click.option("--recommended", multiple=True, metavar="OPERATION", help="Repeatable."),
    click.option("--alias", "aliases", multiple=True, help="Another name for exactly this model; repeatable."),
    click.option(
        "--offering",
        "offerings",
        multiple=True,
        metavar="PROVIDER/MODEL[,region=REGION][,eu]",
        help="Who offers it, under which name, for keys of which region, and whether inside the European Union; repeatable.",
    ),
    click.option("--default", "default", is_flag=True, help="Make it the default model, in place of the present one."),
)


def model_options(command: F) -> F:
    """Add the options that describe a model."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a model that were given as options. Raises Problem for an offering that cannot be read."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if value is None or value == () or value is False:
            continue
        if name == "offerings":
            found[name] = [parse_offering(text) for text in value]
        else:
            found["class" if name == "model_class" else name] = list(value) if isinstance(value, tuple) else value
    return found


def parse_offering(text: str) -> dict[str, Any]:
    """Parse `PROVIDER/MODEL[,region=REGION][,eu]`. Raises Problem."""
    place, *marks = text.split(",")
    provider, slash, upstream = place.partition("/")
    offering: dict[str, Any] = {"provider": provider, "upstream": upstream}
    for mark in marks:
        name, equals, value = mark.partition("=")
        if mark == "eu":
            offering["eu"] = True
        elif name == "region" and equals:
            offering["region"] = value
        else:
            slash = ""
    if not slash or not upstream:
        raise Problem(
            "an offering must read PROVIDER/MODEL[,region=REGION][,eu]",
            "For example --offering openai/gpt-5, or --offering bedrock/eu.amazon.nova-lite-v1:0,region=eu,eu",
        )
    return offering


def as_document(model: CatalogModel) -> dict[str, Any]:
    """Return a model as its fields."""
    document = model.model_dump(mode="json", exclude_none=True)
    document["class"] = document.pop("model_class")
    return document
