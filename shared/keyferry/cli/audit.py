"""`keyferry audit`: who did what, and whether the record of it is whole."""

import click

from keyferry.cli.connection import run
from keyferry.cli.options import json_option, tenant_option
from keyferry.cli.terminal import format_table, format_time
from keyferry.contracts.audit import AuditEntry, ListAudit, VerifyAudit
from keyferry.contracts.topology import AUDIT_LIST, AUDIT_VERIFY

_ALL_ENTRIES_SECONDS = 300.0


@click.group()
def command() -> None:
    """The audit: who did what to provider keys and to the vault."""


@command.command("list")
@tenant_option
@click.option("--limit", default=50, show_default=True, help="How many, the newest first; at most 1000.")
@click.option("--before", type=int, help="Only what stands before this position.")
@json_option
def list_(tenant: str, limit: int, before: int | None, as_json: bool) -> None:
    """A tenant's audit, the newest first."""
    asked = ListAudit(tenant=tenant, limit=limit, before=before)
    found = run(lambda me: me.ask(AUDIT_LIST, asked))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("POSITION", "AT", "ACTOR", "ACTION", "TARGET", "OUTCOME", "DETAILS")
    click.echo(format_table(heads, [_row(entry) for entry in found.entries], empty=f"nothing is recorded for {tenant}"))


@command.command()
@click.option("--tenant", help="Only this tenant's chain.")
@json_option
def verify(tenant: str | None, as_json: bool) -> int:
    """Recompute every chain. The exit status is 0 when nothing was changed, cut off, reordered or left out."""
    asked = VerifyAudit(tenant=tenant)
    verdict = run(lambda me: me.ask(AUDIT_VERIFY, asked, timeout_seconds=_ALL_ENTRIES_SECONDS))
    if as_json:
        click.echo(verdict.model_dump_json(indent=2))
    else:
        click.echo(f"{verdict.entries} entries of {verdict.tenants} tenants looked at")
        click.echo("\n".join(f"FAULT: {fault}" for fault in verdict.faults) or "the audit is whole and unchanged")
    return 1 if verdict.faults else 0


def _row(entry: AuditEntry) -> tuple[str, ...]:
    event = entry.event
    details = ", ".join(f"{name}={value}" for name, value in sorted(event.details.items()))
    return (
        str(entry.position),
        format_time(event.at),
        event.actor,
        event.action,
        event.target,
        event.outcome.value,
        details,
    )
