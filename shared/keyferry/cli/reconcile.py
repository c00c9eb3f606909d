"""`keyferry reconcile`: what providers say was used, compared with what was recorded."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import click
from pydantic import ValidationError

from keyferry.cli.connection import run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, format_time, json_option, tenant_option
from keyferry.contracts.envelope import describe
from keyferry.contracts.money import plain, usd
from keyferry.contracts.reconciliation import (
    MAX_CSV_CHARACTERS,
    GetReconciliation,
    ListReconciliations,
    ListReconciliationSchedules,
    Reconciliation,
    ReconciliationRow,
    ReconciliationSchedule,
    RemoveReconciliationSchedule,
    RunReconciliation,
    SaveReconciliationSchedule,
)
from keyferry.contracts.reconciliation_management import (
    RECONCILIATION_GET,
    RECONCILIATION_LIST,
    RECONCILIATION_RUN,
    RECONCILIATION_SCHEDULE_LIST,
    RECONCILIATION_SCHEDULE_REMOVE,
    RECONCILIATION_SCHEDULE_SAVE,
)

_RUN_SECONDS = 300.0
_DAY = click.DateTime(formats=["%Y-%m-%d"])
_PAGE = click.IntRange(1, 200)
_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@click.group()
def command() -> None:
    """Compare what was recorded with providers' own figures, by day (UTC) and model."""


@command.command("run")
@click.argument("provider")
@click.option("--since", required=True, type=_DAY, metavar="DAY", help="The first day, in UTC, as 2026-11-01.")
@click.option("--until", required=True, type=_DAY, metavar="DAY", help="The last day, in UTC.")
@click.option("--key", "key_id", metavar="KEY_ID", help="Only attempts with this key.")
@click.option("--provider-key", metavar="ID", help="Only usage of this key, by the provider's own id of it.")
@click.option("--csv", "csv_file", type=_FILE, help="Compare with this CSV, or with standard input (-).")
@click.option("--total", metavar="DOLLARS", help="Compare with the total of an invoice.")
@tenant_option
@json_option
def run_(
    provider: str,
    since: datetime,
    until: datetime,
    key_id: str | None,
    provider_key: str | None,
    csv_file: Path | None,
    total: str | None,
    tenant: str,
    as_json: bool,
) -> None:
    """Compare a tenant's usage at PROVIDER with its API, a --csv or a --total, and keep the report."""
    given: dict[str, object] = {
        "tenant": tenant,
        "provider": provider,
        "since": since.date(),
        "until": until.date(),
        "key_id": key_id,
        "provider_key": provider_key,
        "csv": None if csv_file is None else _read(csv_file),
        "total_usd": None if total is None else _parse_amount(total, "--total"),
    }
    question = _command(given)
    report = run(lambda me: me.ask(RECONCILIATION_RUN, question, timeout_seconds=_RUN_SECONDS), tenant=tenant)
    click.echo(report.model_dump_json(indent=2) if as_json else "\n".join(format_report(report)))


@command.command("list")
@click.option("--provider", help="Only comparisons with this provider.")
@click.option("--limit", default=50, show_default=True, type=_PAGE, help="Reports of one page.")
@click.option("--after", help="Continue behind this report.")
@tenant_option
@json_option
def list_(provider: str | None, limit: int, after: str | None, tenant: str, as_json: bool) -> None:
    """List a tenant's comparisons, newest first."""
    query = ListReconciliations(tenant=tenant, provider=provider, limit=limit, after=after)
    found = run(lambda me: me.ask(RECONCILIATION_LIST, query), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("REPORT", "AT", "PROVIDER", "FROM", "TO", "BY", "PROVIDER $", "RECORDED $", "DIFFERENCE $", "")
    rows = [_report_row(each) for each in found.reconciliations]
    empty = f"{tenant} has no comparisons: `keyferry reconcile run PROVIDER --tenant {tenant} --since … --until …` makes one"
    click.echo(format_table(heads, rows, empty=empty))
    if found.next:
        click.echo(f"`--after {found.next}` shows those before")


@command.command()
@click.argument("reconciliation_id")
@tenant_option
@json_option
def show(reconciliation_id: str, tenant: str, as_json: bool) -> None:
    """Show one comparison: its rows by day and model, and what may explain each difference."""
    query = GetReconciliation(tenant=tenant, reconciliation_id=reconciliation_id)
    report = run(lambda me: me.ask(RECONCILIATION_GET, query), tenant=tenant)
    click.echo(report.model_dump_json(indent=2) if as_json else "\n".join(format_report(report)))


@command.command()
@tenant_option
@json_option
def schedules(tenant: str, as_json: bool) -> None:
    """List the providers that each month is compared with."""
    query = ListReconciliationSchedules(tenant=tenant)
    found = run(lambda me: me.ask(RECONCILIATION_SCHEDULE_LIST, query), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("PROVIDER", "ENABLED", "TOLERANCE", "NEXT", "LAST", "ERROR")
    providers = ", ".join(found.with_api)
    empty = (
        f"no monthly comparisons; {providers} can be asked: `keyferry reconcile schedule PROVIDER --tenant {tenant}`"
    )
    click.echo(format_table(heads, [_schedule_row(each) for each in found.schedules], empty=empty))


@command.command()
@click.argument("provider")
@click.option(
    "--day", "day_of_month", default=3, show_default=True, type=click.IntRange(2, 28), help="Of the next month."
)
@click.option(
    "--tolerance", "tolerance_usd", default="1", show_default=True, metavar="DOLLARS", help="No alert below it."
)
@click.option(
    "--percent", "tolerance_percent", default=2, show_default=True, type=click.IntRange(0, 100), help="Nor below it."
)
@click.option("--enable/--disable", "enabled", default=True, help="Whether months are compared.")
@tenant_option
@json_option
def schedule(
    provider: str,
    day_of_month: int,
    tolerance_usd: str,
    tolerance_percent: int,
    enabled: bool,
    tenant: str,
    as_json: bool,
) -> None:
    """Compare each month with PROVIDER once it has ended, and raise an alert above both tolerances."""
    question = SaveReconciliationSchedule(
        tenant=tenant,
        provider=provider,
        enabled=enabled,
        day_of_month=day_of_month,
        tolerance_usd=_parse_amount(tolerance_usd, "--tolerance"),
        tolerance_percent=tolerance_percent,
    )
    saved = run(lambda me: me.ask(RECONCILIATION_SCHEDULE_SAVE, question), tenant=tenant)
    click.echo(saved.model_dump_json(indent=2) if as_json else _describe_schedule(saved))


@command.command()
@click.argument("provider")
@tenant_option
@json_option
def unschedule(provider: str, tenant: str, as_json: bool) -> None:
    """End the monthly comparison with PROVIDER; reports stay."""
    question = RemoveReconciliationSchedule(tenant=tenant, provider=provider)
    removed = run(lambda me: me.ask(RECONCILIATION_SCHEDULE_REMOVE, question), tenant=tenant)
    click.echo(
        removed.model_dump_json(indent=2) if as_json else f"{removed.provider} is not compared each month any more"
    )


# --- reading


def _command(given: dict[str, object]) -> RunReconciliation:
    try:
        return RunReconciliation.model_validate(given)
    except ValidationError as error:
        raise Problem(describe(error)) from None


def _read(file: Path) -> str:
    with click.open_file(str(file), encoding="utf-8", errors="replace") as text:
        content = text.read(MAX_CSV_CHARACTERS + 1)
    if len(content) > MAX_CSV_CHARACTERS:
        raise Problem(f"the CSV is longer than {MAX_CSV_CHARACTERS} characters: compare fewer days at once")
    if not content.strip():
        raise Problem("the CSV is empty")
    return str(content)


def _parse_amount(text: str, option: str) -> Decimal:
    try:
        return usd(text.removeprefix("$"))
    except ValueError:
        raise Problem(f"{option} takes an amount in dollars with a decimal point, as 1234.56") from None


# --- showing


def format_report(report: Reconciliation) -> list[str]:
    """Return a report: its totals, its rows, and what may explain them."""
    totals = report.totals
    span = f"{report.since} to {report.until} (UTC)"
    whose = "" if report.key_id is None else f", key {report.key_id}"
    over = " over the tolerance" if report.over_tolerance else ""
    amounts = f"provider {_usd(totals.provider_cost_usd)}, recorded {_usd(totals.cost_usd)}"
    causes = f"{totals.unreported} of unknown usage, {totals.estimated} estimated, {totals.unpriced} without a price"
    lines = [
        f"{report.reconciliation_id}: {report.provider}, {span}{whose}, by {report.stated_by.value}",
        f"{amounts}, difference {_usd(totals.cost_difference_usd)}{over}",
        f"{totals.attempts} attempts: {causes}",
    ]
    if not report.days_complete:
        lines.append("the provider may still add usage to the last days: compare them again later")
    heads = (
        "DAY",
        "MODEL",
        "PROVIDER TOKENS",
        "RECORDED",
        "DIFFERENCE",
        "PROVIDER $",
        "RECORDED $",
        "DIFFERENCE $",
        "WHY",
    )
    lines.append(format_table(heads, [_row(each) for each in report.rows], empty="nothing was used"))
    if report.more_rows:
        lines.append(f"{report.more_rows} more rows with smaller differences")
    details = dict.fromkeys(f"{each.reason.value}: {each.detail}" for row in report.rows for each in row.explanations)
    return lines + [f"  {detail}" for detail in list(details)[:20]]


def _row(row: ReconciliationRow) -> tuple[str, ...]:
    tokens = [count for count in (row.provider_prompt_tokens, row.provider_completion_tokens) if count is not None]
    return (
        _day(row.day),
        row.model or "all",
        str(sum(tokens)) if tokens else "-",
        str(row.prompt_tokens + row.completion_tokens),
        "-" if row.token_difference is None else f"{row.token_difference:+}",
        _usd(row.provider_cost_usd),
        _usd(row.cost_usd),
        _usd(row.cost_difference_usd),
        ", ".join(each.reason.value for each in row.explanations) or "-",
    )


def _report_row(report: Reconciliation) -> tuple[str, ...]:
    totals = report.totals
    return (
        report.reconciliation_id,
        format_time(report.created_at),
        report.provider,
        report.since.isoformat(),
        report.until.isoformat(),
        report.stated_by.value,
        _usd(totals.provider_cost_usd),
        _usd(totals.cost_usd),
        _usd(totals.cost_difference_usd),
        "over the tolerance" if report.over_tolerance else "",
    )


def _schedule_row(schedule: ReconciliationSchedule) -> tuple[str, ...]:
    return (
        schedule.provider,
        "yes" if schedule.enabled else "no",
        f"{plain(schedule.tolerance_usd)} $, {schedule.tolerance_percent} %",
        "-" if schedule.next_run_at is None else format_time(schedule.next_run_at),
        schedule.last_reconciliation_id or "-",
        schedule.last_error or "-",
    )


def _describe_schedule(schedule: ReconciliationSchedule) -> str:
    if schedule.next_run_at is None:
        return f"{schedule.provider} is not compared each month"
    return f"{schedule.provider} is compared each month, next at {format_time(schedule.next_run_at)}"


def _day(day: date | None) -> str:
    return "all" if day is None else day.isoformat()


def _usd(amount: Decimal | None) -> str:
    return "-" if amount is None else plain(amount)
