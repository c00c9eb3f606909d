"""Options for what a client token may do, and the checks of its id."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from keyferry.cli.problem import Problem
from keyferry.contracts import ids
from keyferry.contracts.token_scope import ClientApi

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--model", "models", multiple=True, help="A model that it may use; repeatable. Default: all models."),
    click.option(
        "--operation",
        "operations",
        multiple=True,
        help="A value that the header X-Operation of its requests may have; repeatable. Default: any.",
    ),
    click.option(
        "--api",
        "apis",
        multiple=True,
        type=click.Choice([api.value for api in ClientApi]),
        help="An API that it may call; repeatable. Default: all.",
    ),
    click.option(
        "--origin",
        "origins",
        multiple=True,
        help="A web page that may use it, such as https://app.example.com; repeatable. Default: all.",
    ),
)


def scope_options(command: F) -> F:
    """Add --model, --operation, --api and --origin to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def scopes(
    models: tuple[str, ...], operations: tuple[str, ...], apis: tuple[str, ...], origins: tuple[str, ...]
) -> dict[str, list[str] | None]:
    """Return the fields of a command that say what a token may do; null where no option was given."""
    return {
        "allowed_models": list(models) or None,
        "allowed_operations": list(operations) or None,
        "allowed_apis": list(apis) or None,
        "allowed_origins": [origin.lower() for origin in origins] or None,
    }


def check_token_id(token_id: str, tenant: str) -> None:
    """Raise Problem for anything but a token's id."""
    if not token_id.startswith(f"{ids.CLIENT_TOKEN}_"):
        # Nothing is sent or repeated: the argument may be the token itself.
        raise Problem(
            f"that is not a token id, which begins with {ids.CLIENT_TOKEN}_",
            f"`keyferry tokens list --tenant {tenant}` shows each token's id beside its last characters",
        )
