"""Everything that the command line does has a route, or a reason why it has none."""

from collections.abc import Iterator

import click
import pytest

from keyferry.cli.main import cli
from services.console.access import INSTALLATION_PREFIX, OPERATOR_PREFIX
from services.console.operations import OPERATIONS, Operation
from services.console.routes_without_command import ROUTES_WITHOUT_COMMAND
from tests.unit.console.surface import openapi_document
from tests.unit.console.test_access import ROUTES

_WITHOUT_FIELD = {"output", "route", "client"}
_EVERYWHERE = {"as_json", "tenant"}
"""Parameters of most commands: the format of the output, and the tenant, which is in the path."""
BY_COMMAND = {operation.command: operation for operation in OPERATIONS}


def command_line(group: click.Group = cli, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield " ".join((*words, name)), command
            yield from command_line(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


COMMANDS = dict(command_line())
DOCUMENT = openapi_document()


def fields_of(operation: Operation) -> set[str]:
    """Return the names of the operation's parameters and of the properties of its body."""
    described = DOCUMENT["paths"][operation.path][operation.method.lower()]
    names = {parameter["name"] for parameter in described.get("parameters", ())}
    if "requestBody" in described:
        reference = described["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        names |= set(DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]["properties"])
    return names


def test_every_command_has_an_entry_and_every_entry_a_command() -> None:
    assert sorted(operation.command for operation in OPERATIONS) == sorted(COMMANDS)
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.command)
def test_an_entry_has_a_route_or_a_reason(operation: Operation) -> None:
    if operation.only_here:
        assert (operation.method, operation.path, operation.fields) == ("", "", {})
    else:
        assert (operation.method, operation.path) in ROUTES


def test_every_route_has_a_command_or_a_reason() -> None:
    """Routes of the credential's own tenant are the same as those for a tenant in the path."""
    served = {(operation.method, operation.path) for operation in OPERATIONS if not operation.only_here}
    documented = {route for route in ROUTES if route[1].startswith((OPERATOR_PREFIX, INSTALLATION_PREFIX))}
    assert documented == served | ROUTES_WITHOUT_COMMAND.keys()
    assert not served & ROUTES_WITHOUT_COMMAND.keys()
    assert all(ROUTES_WITHOUT_COMMAND.values())


@pytest.mark.parametrize("words", [name for name in COMMANDS if not BY_COMMAND[name].only_here])
def test_every_option_has_a_field(words: str) -> None:
    operation = BY_COMMAND[words]
    options = {parameter.name or "" for parameter in COMMANDS[words].params} - _EVERYWHERE
    accepted = fields_of(operation) | _WITHOUT_FIELD
    missing = {option for option in options if operation.fields.get(option, option) not in accepted}
    assert not missing, f"`keyferry {words}` has options that its route lacks"
    assert operation.command.startswith("keys ") or not operation.fields.keys() - options, "a field of no option"
