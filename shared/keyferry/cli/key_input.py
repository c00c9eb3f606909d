"""Reading a provider key from a prompt without echo, standard input or a file. Never the command line, which others see."""

import sys
from pathlib import Path

import click

from keyferry.cli.problem import Problem
from keyferry.contracts.secret import Secret

_STDIN = "-"
_LONGEST = 16_384
"""Characters; anything longer is not a key."""


def read_key(source: str | None, what: str) -> Secret:
    """Read the key from `source`: a file, `-` for standard input, None for a prompt that shows `what`. Raises Problem.

    Line ends around the key are removed; the vault validates the rest.
    """
    if source is None:
        return _prompt(what)
    text = sys.stdin.read(_LONGEST + 1) if source == _STDIN else _read_file(source)
    if len(text) > _LONGEST:
        raise Problem("the input is too long to be a key", "Give a file that contains only the key")
    return _to_secret(text)


def _prompt(what: str) -> Secret:
    if not sys.stdin.isatty():
        raise Problem(
            "there is no terminal to ask for the key",
            "Give --key-file FILE, or --key-file - and the key on standard input",
        )
    return _to_secret(str(click.prompt(what, hide_input=True, err=True)))


def _read_file(source: str) -> str:
    try:
        with Path(source).open(errors="strict") as file:
            return file.read(_LONGEST + 1)
    except OSError as error:
        # The name is not repeated: it may be the key itself instead of the path of its file.
        raise Problem(
            f"cannot read the file with the key: {error.strerror}",
            "Give --key-file the path of a file that contains the key",
        ) from None
    except UnicodeDecodeError:
        raise Problem("the file with the key is not text", "Give a file that contains only the key") from None


def _to_secret(text: str) -> Secret:
    key = text.strip("\r\n")
    if not key:
        raise Problem("the key is empty", "Nothing was sent; give the key itself")
    return Secret(key)
