"""`keyferry backup`: runs the program for it, which is part of the installation and not of this library."""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from keyferry.cli.member_connection import require_operator
from keyferry.cli.problem import Problem

_PROGRAM = "deploy.backup"
_FILE = Path("deploy", "backup", "__main__.py")


def run_program(arguments: Sequence[str]) -> int:
    """Run the installation's program for backups on this terminal; return its exit status. Raises Problem if it is not here."""
    require_operator("a backup is made and restored on the installation's machine")
    if not _FILE.is_file():
        raise Problem(
            f"there is no {_FILE} here, the program that makes and restores backups",
            "Change to the directory of Keyferry's repository, where `make up` runs",
        )
    return subprocess.run([sys.executable, "-m", _PROGRAM, *arguments], check=False).returncode


def opening_options(key: str, passphrase_file: str | None) -> Iterable[str]:
    """Return the arguments of what opens a backup."""
    return ("--key", key, *(("--passphrase-file", passphrase_file) if passphrase_file else ()))


@click.group()
def command() -> None:
    """Make encrypted backups of the installation, and verify them. `keyferry restore` restores one."""


@command.command("make-key")
@click.argument("key")
@click.option("--passphrase", is_flag=True, help="Encrypt the key with a passphrase, which is asked for.")
@click.option("--passphrase-file", help="Encrypt the key with the passphrase in this file.")
def make_key(key: str, passphrase: bool, passphrase_file: str | None) -> int:
    """Write the KEY that opens backups to a file, and show its recipient, for which they are made. Keep it elsewhere."""
    asked = ("--passphrase",) if passphrase else ()
    given = ("--passphrase-file", passphrase_file) if passphrase_file else ()
    return run_program(("make-key", *asked, *given, "--", key))


@command.command("create")
@click.argument("file")
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    metavar="age1…",
    help="Whose key opens it; more than once for several. Default: KEYFERRY_BACKUP_RECIPIENTS, separated by commas.",
)
@click.option("--without-keks", is_flag=True, help="Leave out what decrypts provider keys.")
def create(file: str, recipients: tuple[str, ...], without_keks: bool) -> int:
    """Write a backup of the installation, running or not, to a new FILE; `-` is the standard output."""
    named = [part for recipient in recipients for part in ("--recipient", recipient)]
    without = ("--without-keks",) if without_keks else ()
    return run_program(("create", *named, *without, "--", file))


@command.command("verify")
@click.argument("file")
@click.option("--key", required=True, help="The file of `keyferry backup make-key`.")
@click.option("--passphrase-file", help="The passphrase of that key is in this file; without it, it is asked for.")
def verify(file: str, key: str, passphrase_file: str | None) -> int:
    """Read the whole backup in FILE, and show what is in it; `-` is the standard input."""
    return run_program(("verify", *opening_options(key, passphrase_file), "--", file))
