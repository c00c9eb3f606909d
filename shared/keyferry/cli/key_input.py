"""Reading a provider key or another secret from a prompt, standard input or a file; never from the command line."""

import sys
from pathlib import Path

import click

from keyferry.cli.problem import Problem
from keyferry.contracts.secret import Secret

_STDIN = "-"
_LONGEST = 16_384
"""Characters; anything longer is not a key."""


def read_key(source: str | None, what: str, *, noun: str = "key", option: str = "--key-file") -> Secret:
    """Read the key from `source`: a file, `-` for standard input, None for a prompt that shows `what`. Raises Problem.

    Line ends around the key are removed; the vault validates the rest. `noun` and `option` are for messages.
    """
    if source is None:
        return _prompt(what, noun, option)
    text = sys.stdin.read(_LONGEST + 1) if source == _STDIN else _read_file(source, noun, option)
    if len(text) > _LONGEST:
        raise Problem(f"the input is too long to be a {noun}", f"Give a file that contains only the {noun}")
    return _to_secret(text, noun)


def _prompt(what: str, noun: str, option: str) -> Secret:
    if not sys.stdin.isatty():
        raise Problem(
            f"there is no terminal to ask for the {noun}",
            f"Give {option} FILE, or {option} - and the {noun} on standard input",
        )
    return _to_secret(str(click.prompt(what, hide_input=True, err=True)), noun)


def _read_file(source: str, noun: str, option: str) -> str:
    try:
        with Path(source).open(errors="strict") as file:
            return file.read(_LONGEST + 1)
    except OSError as error:
        # The name is not repeated: it may be the key itself instead of the path of its file.
        raise Problem(
            f"cannot read the file with the {noun}: {error.strerror}",
            f"Give {option} the path of a file that contains the {noun}",
        ) from None
    except UnicodeDecodeError:
        raise Problem(f"the file with the {noun} is not text", f"Give a file that contains only the {noun}") from None


def _to_secret(text: str, noun: str) -> Secret:
    key = text.strip("\r\n")
    if not key:
        raise Problem(f"the {noun} is empty", f"Nothing was sent; give the {noun} itself")
    return Secret(key)
