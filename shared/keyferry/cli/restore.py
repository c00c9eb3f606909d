"""`keyferry restore`."""

import click

from keyferry.cli.backup import opening_options, run_program


@click.command()
@click.argument("file")
@click.option("--key", required=True, help="The file of `keyferry backup make-key`.")
@click.option("--passphrase-file", help="The passphrase of that key is in this file; without it, it is asked for.")
@click.option("--admin-url-file", help="Into servers elsewhere: the file with a superuser's URL of the empty database.")
@click.option("--nats-url", help="Into servers elsewhere: the bus, or the servers of a cluster with commas.")
@click.option("--seed-file", help="The seed of the NATS user `provisioner`; else the one in the backup.")
@click.option("--replicas", help="Servers that keep each stream: 1, 3 or 5. Default: KEYFERRY_NATS_REPLICAS, else 1.")
def command(file: str, key: str, passphrase_file: str | None, **elsewhere: str | None) -> int:
    """Restore the backup in FILE into an empty home directory, KEYFERRY_HOME or .keyferry; `-` is the standard input.

    With --admin-url-file and --nats-url, into these servers; the home then gets the secrets and spools.
    """
    target = [part for name, value in elsewhere.items() if value for part in (f"--{name.replace('_', '-')}", value)]
    return run_program(("restore", *opening_options(key, passphrase_file), *target, "--", file))
