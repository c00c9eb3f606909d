"""`keyferry vault`: the vault as a whole."""

import asyncio
from collections.abc import Callable

import click

from keyferry.cli.connection import OperatorConnection, run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_days, format_table, json_option
from keyferry.contracts.key import (
    KekAgeReport,
    KekRotation,
    RotateDataKeys,
    RotateKek,
    ShredTenant,
    VaultReport,
    VerifyVault,
)
from keyferry.contracts.topology import DATA_KEY_ROTATE, KEK_ROTATE, VAULT_SHRED, VAULT_VERIFY

_LOOK_EVERY_SECONDS = 0.5
_ALL_RECORDS_SECONDS = 300.0
"""Opening every record takes a hundredth of a millisecond each, and a remote holder of the KEKs its time."""


@click.group()
def command() -> None:
    """The vault as a whole: its KEKs, data keys and records."""


@command.command()
@json_option
def status(as_json: bool) -> None:
    """Which KEKs wrap how many data keys, how old they are, and how far a rotation is."""
    _show_rotation(run(lambda me: me.ask(KEK_ROTATE, RotateKek(start=False))), as_json)


@command.command("rotate-kek")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Show how far it is until it ends.")
@click.option("--new-key", is_flag=True, help="Have the vault make a new KEK first, where it can.")
@json_option
def rotate_kek(wait: bool, new_key: bool, as_json: bool) -> int:
    """Rewrap every data key under the primary KEK. Requests go on meanwhile; begun again, it goes on where it was."""
    say: Callable[[str], None] = (lambda _: None) if as_json else (lambda text: click.echo(text, err=True))

    async def work(me: OperatorConnection) -> KekRotation:
        far = await me.ask(KEK_ROTATE, RotateKek(renew=new_key))
        while wait and far.running:
            say(_how_far(far))
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            far = await me.ask(KEK_ROTATE, RotateKek(start=False))
        return far

    far = run(work)
    _show_rotation(far, as_json)
    return 1 if far.failed else 0


@command.command("rotate-data-keys")
@click.option("--tenant", required=True, help="Whose keys to seal under a fresh data key.")
@json_option
def rotate_data_keys(tenant: str, as_json: bool) -> int:
    """Seal a tenant's keys under a fresh data key, and destroy the former one."""
    asked = RotateDataKeys(tenant=tenant)
    return _show_report(run(lambda me: me.ask(DATA_KEY_ROTATE, asked, timeout_seconds=_ALL_RECORDS_SECONDS)), as_json)


@command.command()
@click.option("--tenant", help="Only this tenant's.")
@json_option
def verify(tenant: str | None, as_json: bool) -> int:
    """Open every record and say which cannot be. The exit status is 0 when all can."""
    asked = VerifyVault(tenant=tenant)
    return _show_report(run(lambda me: me.ask(VAULT_VERIFY, asked, timeout_seconds=_ALL_RECORDS_SECONDS)), as_json)


@command.command()
@click.option("--tenant", required=True, help="Whose keys to destroy.")
@click.option("--confirm", metavar="TENANT", help="The tenant once more. Default: ask for it.")
@json_option
def shred(tenant: str, confirm: str | None, as_json: bool) -> None:
    """Destroy a tenant's data keys, and with them every provider key of it. Nothing brings them back."""
    again = confirm if confirm is not None else _asked_again(tenant)
    if again != tenant:
        raise Problem("the two names are not the same, so nothing was destroyed", "Give the tenant's name once more")
    done = run(lambda me: me.ask(VAULT_SHRED, ShredTenant(tenant=tenant, confirm=again)))
    click.echo(
        done.model_dump_json(indent=2)
        if as_json
        else f"destroyed {done.keys} provider keys and {done.data_keys} data keys of {done.tenant}. Backups that hold its"
        " data keys can still open what they hold: let them run out"
    )


def _asked_again(tenant: str) -> str:
    text: str = click.prompt(
        f"Every provider key of {tenant} is destroyed for good. Type its name to confirm", err=True
    )
    return text


def _show_rotation(far: KekRotation, as_json: bool) -> None:
    if as_json:
        click.echo(far.model_dump_json(indent=2))
        return
    click.echo(_by_kek(far.by_kek, far.primary))
    click.echo(_how_far(far))
    if far.term is not None:
        click.echo(kek_age_line(far.term))
    if far.failed:
        click.echo(
            f"could not be unwrapped: {', '.join(far.failed)}; `keyferry vault verify` says whose keys those are"
        )


def kek_age_line(term: KekAgeReport) -> str:
    """The age of the oldest KEK in use, and what follows from it."""
    age = f"the KEK {term.kek} is {format_days(term.age_days)} old"
    return f"OVERDUE: {age}; {term.detail}" if term.overdue else f"{age}; {term.detail}"


def _how_far(far: KekRotation) -> str:
    if far.left == 0:
        return f"all {far.total} data keys are wrapped by {far.primary}"
    doing = "rewrapping" if far.running else "not running; `keyferry vault rotate-kek` goes on"
    return f"{far.total - far.left} of {far.total} data keys are wrapped by {far.primary}, {far.left} are left: {doing}"


def _by_kek(counts: dict[str, int], primary: str) -> str:
    names = dict.fromkeys([primary, *sorted(counts)])
    rows = [(name, "primary" if name == primary else "", str(counts.get(name, 0))) for name in names]
    return format_table(("SEALING KEY", "", "DATA KEYS"), rows, empty="")


def _show_report(report: VaultReport, as_json: bool) -> int:
    if as_json:
        click.echo(report.model_dump_json(indent=2))
    else:
        click.echo(_by_kek(report.keks, report.primary))
        click.echo(f"{report.records} records under {report.data_keys} data keys looked at")
        bad = report.undecryptable
        click.echo(f"CANNOT BE OPENED: {', '.join(bad)}" if bad else "every one of them can be opened")
    return 1 if report.undecryptable else 0
