"""Command line: python -m deploy.backup create | verify | make-key | restore.

`keyferry backup` and `keyferry restore` run it.
"""

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from deploy.backup import create as creation
from deploy.backup import restore as restoring
from deploy.backup.elsewhere import RestoreTarget
from deploy.backup.encryption import make_identity, parse_recipient, read_identities
from deploy.backup.errors import BackupFailed
from deploy.backup.servers import Servers, servers_of
from deploy.embedded.errors import DEBUG_VARIABLE, describe
from deploy.embedded.home import Home
from deploy.embedded.terminal import Terminal
from deploy.nats.provision import REPLICAS_VARIABLE, parse_replicas, replicas_of
from keyferry.contracts.secret import Secret
from keyferry.runtime.process.settings import read_secret

_INTERRUPTED = 130
_RECIPIENTS = "KEYFERRY_BACKUP_RECIPIENTS"
_PHRASE_HELP = "the passphrase of that key is in this file; without it, it is asked for"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 failed, 2 invalid command line, 130 interrupted."""
    options = _parser().parse_args(arguments)
    terminal = Terminal(sys.stderr)
    try:
        match options.command:
            case "create":
                return _create(options, terminal)
            case "verify":
                return _verify(options)
            case "make-key":
                return _make_key(options)
            case _:
                return _restore(options, terminal)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # the outermost edge: people get a message and a remedy, never a traceback
        if os.environ.get(DEBUG_VARIABLE):
            raise
        print(describe(error), file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keyferry backup", description="Back up a whole installation, and restore it."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    making = commands.add_parser("make-key", help="make the key that opens backups; keep it somewhere else")
    making.add_argument("file", type=Path, metavar="KEY", help="where to write the key")
    making.add_argument(
        "--passphrase", action="store_true", help="encrypt the key with a passphrase, which is asked for"
    )
    making.add_argument("--passphrase-file", type=Path, help="encrypt the key with the passphrase in this file")
    creating = commands.add_parser("create", help="write a backup, encrypted for one or more recipients")
    creating.add_argument("file", metavar="FILE", help="a new file; - is the standard output")
    creating.add_argument(
        "--recipient",
        action="append",
        default=[],
        metavar="age1…",
        help=f"whose key opens it; several times for several; else {_RECIPIENTS}, separated by commas",
    )
    creating.add_argument("--without-keks", action="store_true", help="leave out what decrypts provider keys")
    creating.add_argument("--admin-url-file", type=Path, help="of servers elsewhere: a superuser's database URL")
    creating.add_argument("--nats-url", help="of servers elsewhere: the bus")
    creating.add_argument(
        "--seed-file", type=Path, help="of servers elsewhere: the seed of the NATS user `provisioner`"
    )
    creating.add_argument("--secrets", type=Path, help="of servers elsewhere: the directory of secrets")
    creating.add_argument("--spool", type=Path, help="of servers elsewhere: the directory of the workers' spools")
    for name, text in (("verify", "read a whole backup and say what is in it"), ("restore", "restore a backup")):
        opening = commands.add_parser(name, help=text)
        opening.add_argument("file", metavar="FILE", help="the backup; - is the standard input")
        opening.add_argument("--key", type=Path, required=True, help="the file of `keyferry backup make-key`")
        opening.add_argument("--passphrase-file", type=Path, help=_PHRASE_HELP)
        if name == "restore":
            _add_target(opening)
    return parser


def _add_target(restoring_options: argparse.ArgumentParser) -> None:
    add = restoring_options.add_argument
    add("--admin-url-file", type=Path, help="into servers elsewhere: a superuser's URL of the empty database")
    add("--nats-url", help="into servers elsewhere: the bus, or the servers of a cluster with commas")
    add("--seed-file", type=Path, help="the seed of the NATS user `provisioner`; else the one in the backup")
    add("--replicas", help=f"servers that keep each stream: 1, 3 or 5 (default: {REPLICAS_VARIABLE}, else 1)")


def _make_key(options: argparse.Namespace) -> int:
    passphrase: Secret | None = None
    if options.passphrase_file is not None:
        passphrase = _read_passphrase(options.passphrase_file)
    elif options.passphrase:
        passphrase = _ask("Passphrase of the new key: ")
        if _ask("The same again: ") != passphrase:
            raise BackupFailed("the two passphrases differ: nothing was written")
    recipient = make_identity(options.file, passphrase)
    print(recipient)
    print(
        f"{options.file} opens the backups that are made for this recipient: keep it where this machine's loss does not reach it",
        file=sys.stderr,
    )
    return 0


def _create(options: argparse.Namespace, terminal: Terminal) -> int:
    named = options.recipient or [part.strip() for part in os.environ.get(_RECIPIENTS, "").split(",") if part.strip()]
    if not named:
        raise BackupFailed(
            "a backup holds every secret, so it is always encrypted: make a key with `keyferry backup make-key FILE`, and name"
            f" the recipient that it shows with --recipient or {_RECIPIENTS}"
        )
    recipients = [parse_recipient(text) for text in named]
    asyncio.run(_run_creation(options, recipients, terminal))
    if options.file != "-":
        size = Path(options.file).stat().st_size
        terminal.log(f"{options.file}: {size / (1 << 20):.1f} MiB. `keyferry backup verify` reads it with the key")
    return 0


async def _run_creation(options: argparse.Namespace, recipients: list[object], terminal: Terminal) -> None:
    elsewhere = (options.admin_url_file, options.nats_url, options.seed_file, options.secrets)
    if any(elsewhere):
        if not all(elsewhere):
            raise BackupFailed("servers elsewhere need all of --admin-url-file, --nats-url, --seed-file and --secrets")
        servers = Servers(read_secret(options.admin_url_file), options.nats_url, options.seed_file)
        source = creation.BackupSource(
            servers=servers, secrets_dir=options.secrets, spool_dir=options.spool, with_keks=not options.without_keks
        )
        await creation.create(source, options.file, recipients, terminal.log)
        return
    home = Home.of(os.environ)
    async with servers_of(home, terminal.log) as servers:
        source = creation.BackupSource(
            servers=servers,
            secrets_dir=home.secrets,
            spool_dir=home.path / "spool",
            with_keks=not options.without_keks,
        )
        await creation.create(source, options.file, recipients, terminal.log)


def _verify(options: argparse.Namespace) -> int:
    contents = restoring.verify(options.file, _identities(options))
    manifest = contents.manifest
    age = datetime.now(UTC) - manifest.created_at
    print(f"complete: backup of {manifest.created_at.isoformat(timespec='seconds')} ({age.days} days old)")
    print(f"made by version {manifest.version}, PostgreSQL {manifest.postgres_major}")
    for part, size in sorted(contents.bytes_by_part.items()):
        print(f"  {part:<10} {size / (1 << 20):10.1f} MiB in {contents.members[part]} members")
    if not manifest.with_keks:
        print("  without KEKs: a restore needs secrets/vault/keks from elsewhere")
    return 0


def _restore(options: argparse.Namespace, terminal: Terminal) -> int:
    home = Home.of(os.environ)
    target = _target(options)
    manifest = asyncio.run(restoring.restore(options.file, _identities(options), home, terminal.log, target))
    at = manifest.created_at.isoformat(timespec="seconds")
    if target is None:
        print(f"{home.path} is as it was at {at}. Before you start it with `make up`:")
    else:
        print(
            f"the servers are as they were at {at}, and {home.path} has the secrets and spools. Before you start services:"
        )
        print(
            "  - run `python -m deploy.nats.provision` and `python -m deploy.postgres.migrate`: see docs/guides/backup.md"
        )
    if not manifest.with_keks:
        print(f"  - put the KEKs into {home.secrets / creation.KEKS} (mode 0600): the backup has none")
    print(
        "  - what was made since then is gone, and what was revoked or removed since then is back: see docs/guides/backup.md"
    )
    return 0


def _target(options: argparse.Namespace) -> RestoreTarget | None:
    """Return the servers elsewhere; None for the home's own. Raises BackupFailed, ProvisionError and SettingsError."""
    if options.admin_url_file is None and options.nats_url is None:
        if options.seed_file is not None or options.replicas is not None:
            raise BackupFailed(
                "--seed-file and --replicas are for servers elsewhere: add --admin-url-file and --nats-url"
            )
        return None
    if options.admin_url_file is None or options.nats_url is None:
        raise BackupFailed("servers elsewhere need both --admin-url-file and --nats-url")
    return RestoreTarget(
        admin_url=read_secret(options.admin_url_file),
        nats_url=options.nats_url,
        seed_file=options.seed_file,
        replicas=parse_replicas(options.replicas, "--replicas") if options.replicas else replicas_of(os.environ),
    )


def _identities(options: argparse.Namespace) -> list[object]:
    def passphrase() -> Secret:
        if options.passphrase_file is not None:
            return _read_passphrase(options.passphrase_file)
        return _ask(f"Passphrase of {options.key}: ")

    return list(read_identities(options.key, passphrase))


def _ask(prompt: str) -> Secret:
    if not sys.stdin.isatty():
        raise BackupFailed("there is no terminal to ask for a passphrase: use --passphrase-file")
    return _checked(getpass.getpass(prompt))


def _read_passphrase(file: Path) -> Secret:
    return _checked(file.read_text(errors="strict").rstrip("\r\n"))


def _checked(text: str) -> Secret:
    if not text or not text.isprintable():
        raise BackupFailed("a passphrase is one line of printable characters, and not empty")
    return Secret(text)


if __name__ == "__main__":
    sys.exit(main())
