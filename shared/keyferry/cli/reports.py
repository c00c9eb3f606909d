"""`keyferry reports`: reports of usage that are mailed each day, week or month."""

from typing import Any

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.delivery_log import SEND_SECONDS
from keyferry.cli.terminal import format_table, format_time, json_option, tenant_option
from keyferry.contracts.notification_management import (
    REPORT_LIST,
    REPORT_PREVIEW,
    REPORT_REMOVE,
    REPORT_SAVE,
    REPORT_SEND,
)
from keyferry.contracts.usage_mail import (
    REPORTED_DIMENSIONS,
    ListReports,
    PreviewReport,
    RemoveReport,
    ReportFrequency,
    ReportTerms,
    SaveReport,
    ScheduledReport,
    SendReport,
)

_FREQUENCIES = click.Choice([each.value for each in ReportFrequency])
_TERMS = (
    click.option("--weekday", type=click.IntRange(1, 7), help="Of a weekly report: Monday is 1, Sunday 7."),
    click.option("--day", type=click.IntRange(1, 31), help="Of a monthly report; in a shorter month, its last day."),
    click.option("--at", metavar="HH:MM", help="The time of day. Default: 07:00."),
    click.option("--zone", metavar="ZONE", help="The time zone. Default: the tenant's."),
    click.option(
        "--by",
        type=click.Choice(sorted(each.value for each in REPORTED_DIMENSIONS)),
        help="By what usage is split. Default: model.",
    ),
    click.option("--tag", help="The name of the tag, for a report by tag."),
    click.option("--enable/--disable", "enabled", default=None, help="Whether it is sent by itself."),
)


def _terms_options(command: Any) -> Any:
    for option in reversed(_TERMS):
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Manage scheduled reports: the figures of `keyferry usage` by e-mail, each day, week or month."""


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List a tenant's scheduled reports."""
    found = run(lambda me: me.ask(REPORT_LIST, ListReports(tenant=tenant)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("REPORT", "NAME", "WHEN", "BY", "CHANNEL", "NEXT", "LAST")
    rows = [
        (
            each.report_id,
            each.name,
            f"{each.frequency} {each.at}",
            each.tag or each.by.value,
            each.channel_id,
            format_time(each.next_at),
            "" if each.last_run is None else f"{each.last_run.state} {format_time(each.last_run.at)}",
        )
        for each in found.reports
    ]
    empty = f"{tenant} has no scheduled reports: `keyferry reports add --tenant {tenant} monthly --channel CHANNEL` adds one"
    click.echo(format_table(heads, rows, empty=empty))


@command.command("add")
@click.argument("frequency", type=_FREQUENCIES)
@click.option("--channel", required=True, metavar="CHANNEL", help="The e-mail channel, by its id.")
@click.option("--name", default="usage", show_default=True, help="A name for people, in the subject.")
@_terms_options
@tenant_option
@json_option
def add(frequency: str, tenant: str, as_json: bool, **given: Any) -> None:
    """Add a report that is sent daily, weekly or monthly (FREQUENCY)."""
    terms = _chosen(given) | {"tenant": tenant, "frequency": frequency}
    _show(run(lambda me: me.ask(REPORT_SAVE, SaveReport.model_validate(terms)), tenant=tenant), "added", as_json)


@command.command("change")
@click.argument("report_id")
@click.option("--frequency", type=_FREQUENCIES, help="How often it is sent.")
@click.option("--channel", metavar="CHANNEL", help="Another e-mail channel, by its id.")
@click.option("--name", help="Another name.")
@_terms_options
@tenant_option
@json_option
def change(report_id: str, tenant: str, as_json: bool, **given: Any) -> None:
    """Change the report REPORT_ID. What is not given stays as it is."""

    async def work(me: Connection) -> ScheduledReport:
        before = (await me.ask(REPORT_LIST, ListReports(tenant=tenant, report_id=report_id))).reports[0]
        terms = before.model_dump(include=set(ReportTerms.model_fields)) | _chosen(given)
        revision = {"report_id": report_id, "expected_revision": before.revision}
        return await me.ask(REPORT_SAVE, SaveReport.model_validate(terms | revision))

    _show(run(work, tenant=tenant), "changed", as_json)


@command.command("remove")
@click.argument("report_id")
@tenant_option
@json_option
def remove(report_id: str, tenant: str, as_json: bool) -> None:
    """Remove the report REPORT_ID."""
    request = RemoveReport(tenant=tenant, report_id=report_id)
    removed = run(lambda me: me.ask(REPORT_REMOVE, request), tenant=tenant)
    click.echo(removed.model_dump_json(indent=2) if as_json else f"removed {removed.report.report_id}")


@command.command("preview")
@click.argument("report_id")
@tenant_option
@json_option
def preview(report_id: str, tenant: str, as_json: bool) -> None:
    """Show the mail of the report REPORT_ID about the period that ended last, without sending it."""
    request = PreviewReport(tenant=tenant, report_id=report_id)
    mail = run(lambda me: me.ask(REPORT_PREVIEW, request, timeout_seconds=SEND_SECONDS), tenant=tenant)
    click.echo(mail.model_dump_json(indent=2) if as_json else f"{mail.subject}\n\n{mail.text}")


@command.command("send")
@click.argument("report_id")
@tenant_option
@json_option
def send(report_id: str, tenant: str, as_json: bool) -> None:
    """Send the report REPORT_ID about the period that ended last now, besides its schedule."""
    request = SendReport(tenant=tenant, report_id=report_id)
    mail = run(lambda me: me.ask(REPORT_SEND, request, timeout_seconds=SEND_SECONDS), tenant=tenant)
    click.echo(mail.model_dump_json(indent=2) if as_json else f"sent: {mail.subject}")


def _chosen(given: dict[str, Any]) -> dict[str, Any]:
    names = {"channel": "channel_id", "zone": "time_zone"}
    return {names.get(name, name): value for name, value in given.items() if value is not None}


def _show(report: ScheduledReport, done: str, as_json: bool) -> None:
    text = f"{done} {report.report_id}: next {format_time(report.next_at)}"
    click.echo(report.model_dump_json(indent=2) if as_json else text)
