"""`keyferry restore`."""

import click

from keyferry.cli.backup import opening_options, run_program


@click.command()
@click.argument("file")
@click.option("--key", required=True, help="The file of `keyferry backup make-key`.")
@click.option("--passphrase-file", help="The passphrase of that key is in this file; without it, it is asked for.")
def command(file: str, key: str, passphrase_file: str | None) -> int:
    """Restore the backup in FILE into an empty home directory, KEYFERRY_HOME or .keyferry; `-` is the standard input."""
    return run_program(("restore", *opening_options(key, passphrase_file), "--", file))
