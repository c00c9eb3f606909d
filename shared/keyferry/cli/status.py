"""`keyferry status`."""

import json
from collections.abc import Sequence

import click

from keyferry.cli.connection import run_as_operator
from keyferry.cli.installation import Installation, locate
from keyferry.cli.member_connection import require_operator
from keyferry.cli.terminal import format_table, json_option
from keyferry.contracts.service import ServiceReport
from keyferry.runtime.process.settings import without_credentials

_HEADS = ("SERVICE", "SLOT", "PID", "VERSION", "STATE", "FACTS")


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Show every process that answers on the bus, what it is waiting for, and a few figures."""
    require_operator("processes report over the bus")
    installation = locate()
    reports = run_as_operator(lambda me: me.collect_reports(), installation)
    if as_json:
        click.echo(json.dumps([report.model_dump(mode="json") for report in reports], indent=2))
        return
    click.echo("\n".join(format_status(installation, reports)))


def format_status(installation: Installation, reports: Sequence[ServiceReport]) -> list[str]:
    """Return the addresses of the installation and a row for each process."""
    lines = [f"bus   {without_credentials(installation.nats_url)}"]
    if installation.state is not None:
        lines.insert(0, f"http  {installation.state.http_url}")
    if installation.home is not None:
        lines.append(f"home  {installation.home}")
    rows = [_row(report) for report in reports]
    table = format_table(_HEADS, rows, empty="no service answers: run `keyferry doctor` to find the cause")
    return [*lines, table, *(f"{report.service}: {why}" for report in reports for why in report.degraded)]


def _row(report: ServiceReport) -> tuple[str, ...]:
    facts = ", ".join(f"{name} {value}" for name, value in sorted(report.facts.items()))
    state = f"waiting for {', '.join(report.waiting_for)}"
    if report.ready:
        state = "degraded" if report.degraded else "ready"
    return (report.service, str(report.slot), str(report.pid), report.version, state, facts)
