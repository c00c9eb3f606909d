"""Every command that a message names exists, and names its tenant: followed word by word, it is not about another's."""

import ast
import re
from collections.abc import Iterator

import click
import pytest

from keyferry.cli.main import cli
from tests.support.repository.files import ROOT

_COMMAND = re.compile(r"`keyferry ([a-z][^`]*)`")
_SOURCES = ("services", "shared/keyferry", "deploy")
_ABOUT_THE_COMMAND_ITSELF = {"chat.py", "text.py"}
"""Files whose texts are read before a tenant is known: the help of an option, and a warning in the contracts."""
_WITHOUT_A_TENANT = {"doctor", "vault", "login"}
"""The first two check everything where no tenant is named; an identity provider knows the tenants of who signs in."""


def _texts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts of a module but its docstrings, with X in place of what is formatted into them."""
    inner = {id(each) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for each in node.values}
    inner |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "X" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


def _named_commands() -> Iterator[tuple[str, str]]:
    for folder in _SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            source = file.read_text()
            if "`keyferry " in source:
                for text in _texts(ast.parse(source)):
                    yield from ((file.name, match[1]) for match in _COMMAND.finditer(text))


def _find(words: list[str]) -> click.Command | None:
    command: click.Command | None = cli
    while isinstance(command, click.Group):
        if command.invoke_without_command and (not words or words[0].startswith("-")):
            return command
        command = command.get_command(click.Context(command), words.pop(0)) if words else None
    return command


@pytest.mark.parametrize(("file", "text"), sorted(set(_named_commands())))
def test_a_named_command_exists_and_names_its_tenant(file: str, text: str) -> None:
    words = text.split()
    command = _find(words)
    assert command is not None, f"{file} names no command: {text}"
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    given = {word for word in words if word.startswith("--")}
    assert given <= options, f"{file} names options that {text} has not"
    about_all = text.split()[0] in _WITHOUT_A_TENANT or file in _ABOUT_THE_COMMAND_ITSELF or "--help" in given
    if "--tenant" in options and not about_all:
        assert "--tenant" in given, f"{file}: whose is it? {text}"


def test_the_messages_are_found() -> None:
    assert len(set(_named_commands())) > 30
