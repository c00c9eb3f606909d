"""`keyferry audit`: who did what, and whether the log is complete and unchanged."""

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, format_time, json_option, tenant_option
from keyferry.contracts.audit import AuditEntry, ListAudit, VerifyAudit
from keyferry.contracts.topology import AUDIT_LIST, AUDIT_VERIFY

_ALL_ENTRIES_SECONDS = 300.0


@click.group()
def command() -> None:
    """Read and verify the audit log: who changed tenants, tokens, endpoints, keys and the vault."""


@command.command("list")
@tenant_option
@click.option("--limit", default=50, show_default=True, help="How many entries to show, newest first; at most 1000.")
@click.option("--before", type=int, help="Only entries before this position.")
@json_option
def list_(tenant: str, limit: int, before: int | None, as_json: bool) -> None:
    """Show a tenant's audit log, newest first."""
    command = ListAudit(tenant=tenant, limit=limit, before=before)
    found = run(lambda me: me.ask(AUDIT_LIST, command), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("POSITION", "AT", "ACTOR", "ACTION", "TARGET", "OUTCOME", "DETAILS")
    click.echo(format_table(heads, [_row(entry) for entry in found.entries], empty=f"nothing is recorded for {tenant}"))


@command.command()
@click.option("--tenant", help="Only this tenant's chain.")
@json_option
def verify(tenant: str | None, as_json: bool) -> int:
    """Verify every chain. The exit status is 0 if no entry was changed, removed, reordered or cut off."""
    command = VerifyAudit(tenant=tenant)
    report = run(lambda me: me.ask(AUDIT_VERIFY, command, timeout_seconds=_ALL_ENTRIES_SECONDS), tenant=tenant)
    if as_json:
        click.echo(report.model_dump_json(indent=2))
    else:
        click.echo(f"{report.entries} entries of {report.tenants} tenants checked")
        click.echo("\n".join(f"FAULT: {fault}" for fault in report.faults) or "the audit log is complete and unchanged")
    return 1 if report.faults else 0


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
