"""Where a provider key comes from: a prompt without echo, standard input, or a file. Never the command line, which others see."""

import sys
from pathlib import Path

import click

from keyferry.cli.problem import Problem
from keyferry.contracts.secret import Secret

_STDIN = "-"
_LONGEST = 16_384
"""Characters; a file beyond that is no key."""


def read_key(source: str | None, what: str) -> Secret:
    """The key from `source`: a file, `-` for standard input, null for a prompt that shows `what`. Raises Problem.

    Line ends around it are cut off; anything else in it is left for the vault to judge.
    """
    if source is None:
        return _prompted(what)
    text = sys.stdin.read(_LONGEST + 1) if source == _STDIN else _file(source)
    if len(text) > _LONGEST:
        raise Problem("what was given is too long to be a key", "Give a file that holds the key alone")
    return _one(text)


def _prompted(what: str) -> Secret:
    if not sys.stdin.isatty():
        raise Problem(
            "there is no terminal to ask for the key",
            "Give --key-file FILE, or --key-file - and the key on standard input",
        )
    return _one(str(click.prompt(what, hide_input=True, err=True)))


def _file(source: str) -> str:
    try:
        with Path(source).open(errors="strict") as file:
            return file.read(_LONGEST + 1)
    except OSError as error:
        # The name is not repeated: the key itself is easily given where its file belongs.
        raise Problem(
            f"cannot read the file with the key: {error.strerror}",
            "Give --key-file the path of a file that holds the key",
        ) from None
    except UnicodeDecodeError:
        raise Problem("the file with the key is not text", "Give a file that holds the key alone") from None


def _one(text: str) -> Secret:
    key = text.strip("\r\n")
    if not key:
        raise Problem("the key is empty", "Nothing was sent; give the key alone")
    return Secret(key)
