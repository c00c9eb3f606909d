"""`keyferry vault`: KEKs, data keys and records of the whole vault."""

import asyncio
from collections.abc import Callable

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_days, format_table, json_option
from keyferry.contracts.topology import DATA_KEY_ROTATE, KEK_ROTATE, VAULT_SHRED, VAULT_VERIFY
from keyferry.contracts.vault import (
    KekAgeReport,
    KekRotation,
    RotateDataKeys,
    RotateKek,
    ShredTenant,
    VaultReport,
    VerifyVault,
)

_POLL_SECONDS = 0.5
_ALL_RECORDS_SECONDS = 300.0
"""Decrypting a record takes a hundredth of a millisecond; a remote KEK provider adds its own time."""


@click.group()
def command() -> None:
    """Manage the vault's KEKs, data keys and records."""


@command.command()
@json_option
def status(as_json: bool) -> None:
    """Show how many data keys each KEK encrypts, the KEKs' age, and the progress of a rotation."""
    _show_rotation(run(lambda me: me.ask(KEK_ROTATE, RotateKek(start=False))), as_json)


@command.command("rotate-kek")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Show the progress until it ends.")
@click.option("--new-key", is_flag=True, help="Have the vault create a new KEK first, where it can.")
@json_option
def rotate_kek(wait: bool, new_key: bool, as_json: bool) -> int:
    """Re-encrypt every data key under the primary KEK.

    The vault keeps serving meanwhile. Run it again to continue an interrupted rotation.
    """
    show: Callable[[str], None] = (lambda _: None) if as_json else (lambda text: click.echo(text, err=True))

    async def work(me: Connection) -> KekRotation:
        rotation = await me.ask(KEK_ROTATE, RotateKek(renew=new_key))
        while wait and rotation.running:
            show(_describe_progress(rotation))
            await asyncio.sleep(_POLL_SECONDS)
            rotation = await me.ask(KEK_ROTATE, RotateKek(start=False))
        return rotation

    rotation = run(work)
    _show_rotation(rotation, as_json)
    return 1 if rotation.failed else 0


@command.command("rotate-data-keys")
@click.option("--tenant", required=True, help="The tenant whose keys to re-encrypt.")
@json_option
def rotate_data_keys(tenant: str, as_json: bool) -> int:
    """Re-encrypt a tenant's keys under a new data key, and destroy the former one."""
    rotate = RotateDataKeys(tenant=tenant)
    report = run(lambda me: me.ask(DATA_KEY_ROTATE, rotate, timeout_seconds=_ALL_RECORDS_SECONDS), tenant=tenant)
    return _show_report(report, as_json)


@command.command()
@click.option("--tenant", help="Only this tenant's records.")
@json_option
def verify(tenant: str | None, as_json: bool) -> int:
    """Decrypt every record and list those that cannot be; the exit status is 0 if there are none."""
    request = VerifyVault(tenant=tenant)
    report = run(lambda me: me.ask(VAULT_VERIFY, request, timeout_seconds=_ALL_RECORDS_SECONDS), tenant=tenant)
    return _show_report(report, as_json)


@command.command()
@click.option("--tenant", required=True, help="The tenant whose keys to destroy.")
@click.option("--confirm", metavar="TENANT", help="The tenant's name again. Default: ask for it.")
@json_option
def shred(tenant: str, confirm: str | None, as_json: bool) -> None:
    """Destroy a tenant's data keys, and with them all its provider keys, irrecoverably."""
    again = confirm if confirm is not None else _ask_again(tenant)
    if again != tenant:
        raise Problem("the two names are not the same, so nothing was destroyed", "Enter the tenant's name again")
    done = run(lambda me: me.ask(VAULT_SHRED, ShredTenant(tenant=tenant, confirm=again)), tenant=tenant)
    click.echo(
        done.model_dump_json(indent=2)
        if as_json
        else f"destroyed {done.keys} provider keys and {done.data_keys} data keys of {done.tenant}. Backups that hold its"
        " data keys can still decrypt its records: let them expire"
    )


def kek_age_line(kek: KekAgeReport) -> str:
    """Return one line on the age of the oldest KEK in use."""
    age = f"the KEK {kek.kek} is {format_days(kek.age_days)} old"
    return f"OVERDUE: {age}; {kek.detail}" if kek.overdue else f"{age}; {kek.detail}"


def _ask_again(tenant: str) -> str:
    text: str = click.prompt(
        f"Every provider key of {tenant} will be destroyed for good. Type its name to confirm", err=True
    )
    return text


def _show_rotation(rotation: KekRotation, as_json: bool) -> None:
    if as_json:
        click.echo(rotation.model_dump_json(indent=2))
        return
    click.echo(_format_by_kek(rotation.by_kek, rotation.primary))
    click.echo(_describe_progress(rotation))
    if rotation.oldest_kek is not None:
        click.echo(kek_age_line(rotation.oldest_kek))
    if rotation.failed:
        click.echo(
            f"could not be decrypted: {', '.join(rotation.failed)}; `keyferry vault verify` shows whose keys those are"
        )


def _describe_progress(rotation: KekRotation) -> str:
    if rotation.left == 0:
        return f"all {rotation.total} data keys are encrypted under {rotation.primary}"
    state = "re-encrypting" if rotation.running else "not running; `keyferry vault rotate-kek` continues"
    done = rotation.total - rotation.left
    return f"{done} of {rotation.total} data keys are encrypted under {rotation.primary}, {rotation.left} are left: {state}"


def _format_by_kek(counts: dict[str, int], primary: str) -> str:
    names = dict.fromkeys([primary, *sorted(counts)])
    rows = [(name, "primary" if name == primary else "", str(counts.get(name, 0))) for name in names]
    return format_table(("KEK", "", "DATA KEYS"), rows, empty="")


def _show_report(report: VaultReport, as_json: bool) -> int:
    if as_json:
        click.echo(report.model_dump_json(indent=2))
    else:
        click.echo(_format_by_kek(report.keks, report.primary))
        click.echo(f"checked {report.records} records under {report.data_keys} data keys")
        bad = report.undecryptable
        click.echo(f"CANNOT BE DECRYPTED: {', '.join(bad)}" if bad else "all of them can be decrypted")
    return 1 if report.undecryptable else 0
