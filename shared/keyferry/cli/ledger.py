"""`keyferry ledger`."""

from datetime import UTC, datetime

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, format_time, format_usd, json_option, parse_past
from keyferry.contracts import ids
from keyferry.contracts.charges import GetMargin, Margin, MarginRow, RerateAmounts, RerateAttempts, Rerating
from keyferry.contracts.ledger_management import ATTEMPTS_RERATE, MARGIN_GET, PARTITION_LIST, PROJECTION_REBUILD
from keyferry.contracts.money import plain
from keyferry.contracts.partitions import LedgerPartition, LedgerPartitions, ListPartitions, PartitionState
from keyferry.contracts.projections import RebuildProjections, RebuiltProjections

_ALL_RECORDS_SECONDS = 600.0
_HEADS = ("TABLE", "PARTITION", "FROM", "UNTIL", "ROWS", "SIZE", "STATE")
_MARGIN_HEADS = ("TIER", "LEVEL", "ATTEMPTS", "FREE", "PROVIDER COST", "REVENUE", "ABSORBED", "MARGIN")
_RERATE_HEADS = ("TENANT", "ATTEMPTS", "CORRECTED", "COST DIFFERENCE", "CHARGED", "REFUNDED", "ABSORBED")
_SUM_SECONDS = 60.0
_RERATE_SECONDS = 600.0
"""Every attempt of the model is read and compared."""
_UNITS = ("B", "KB", "MB", "GB", "TB")


@click.group()
def command() -> None:
    """Show how the ledger stores attempts, what the platform earns, and correct wrong prices."""


@command.command()
@json_option
def partitions(as_json: bool) -> None:
    """List the months of attempts and decisions, and when each leaves."""
    found = run(lambda me: me.ask(PARTITION_LIST, ListPartitions()))
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_partitions(found)))


@command.command()
@click.option("--since", default="30d", show_default=True, help="Start: 2026-01-31, 2026-01-31T12:00 (UTC), or 7d.")
@click.option("--until", help="End (exclusive), in the same forms (default: now).")
@json_option
def margin(since: str, until: str | None, as_json: bool) -> None:
    """Show what attempts have cost the platform and what it has earned with them, by tier and level."""
    now = datetime.now(UTC)
    query = GetMargin(since=parse_past(since, now), until=None if until is None else parse_past(until, now))
    found = run(lambda me: me.ask(MARGIN_GET, query, timeout_seconds=_SUM_SECONDS))
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_margin(found)))


@command.command()
@click.option("--provider", required=True, help="The provider whose price was wrong.")
@click.option("--model", required=True, help="The provider's own name for the model.")
@click.option("--since", required=True, help="Attempts that began since then: 2026-01-31, 2026-01-31T12:00 (UTC), 7d.")
@click.option("--reason", required=True, help="Why, for tenants' history and the audit log.")
@click.option("--id", "rerate_id", help="Repeat or continue the re-rating of this id (default: a new one).")
@click.option("--dry-run", is_flag=True, help="Only show what would be corrected.")
@json_option
def rerate(
    provider: str, model: str, since: str, reason: str, rerate_id: str | None, dry_run: bool, as_json: bool
) -> None:
    """Correct what tenants paid for attempts, by the prices and the billing plan in force now.

    Set the price first (`keyferry prices set`). Credits are given back or charged, and usage and budgets follow; what was
    recorded is kept beside it. What a tenant's credits cannot bear is borne by the platform.
    """
    query = RerateAttempts(
        rerate_id=rerate_id or ids.new("rerate"),
        provider=provider,
        model=model,
        since=parse_past(since, datetime.now(UTC)),
        dry_run=dry_run,
        reason=reason,
    )
    found = run(lambda me: me.ask(ATTEMPTS_RERATE, query, timeout_seconds=_RERATE_SECONDS))
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_rerating(found)))


def format_margin(found: Margin) -> list[str]:
    """Return the table of a margin report, and the plans that lose money."""
    rows = [_margin_row(row.tier or "-", row.level or "-", row) for row in found.rows]
    lines = [
        f"{format_time(found.since)} to {format_time(found.until)}, billing plan {found.plan_version}",
        format_table(
            _MARGIN_HEADS, [*rows, _margin_row("all", "", found.total)] if rows else [], empty="nothing was used"
        ),
    ]
    if found.total.unpriced:
        lines.append(f"the cost of {found.total.unpriced} attempts is unknown and in no amount")
    if found.below_cost:
        plans = ", ".join(f"{each.tier} {each.level} {plain(each.share_of_cost)}" for each in found.below_cost)
        lines.append(f"below the provider's cost (share that is charged): {plans}")
    return lines


def format_rerating(found: Rerating) -> list[str]:
    """Return the table of a re-rating by tenant, and how it ended."""
    rows = [_rerate_row(each.tenant, each) for each in found.tenants]
    verb = "would correct" if found.dry_run else "had corrected before" if found.repeated else "corrected"
    lines = [
        f"{found.provider} {found.model} since {format_time(found.since)}, billing plan {found.plan_version}",
        format_table(
            _RERATE_HEADS, [*rows, _rerate_row("all", found.total)] if rows else [], empty="there are no such attempts"
        ),
        f"{verb} {found.total.corrected} of {found.total.examined} attempts",
    ]
    if found.total.unknown:
        lines.append(f"{found.total.unknown} attempts stay as they are: no price, or unknown usage")
    if found.total.absorbed_usd > 0:
        lines.append(f"the platform bears {format_usd(found.total.absorbed_usd)}: some tenants have too few credits")
    return lines if found.dry_run else [*lines, f"its id is {found.rerate_id}; repeating it has no further effect"]


def _margin_row(tier: str, level: str, row: MarginRow) -> tuple[str, ...]:
    amounts = (row.provider_cost_usd, row.revenue_usd, row.absorbed_usd, row.margin_usd)
    return tier, level, str(row.attempts), str(row.free), *map(format_usd, amounts)


def _rerate_row(tenant: str, row: RerateAmounts) -> tuple[str, ...]:
    amounts = (row.cost_difference_usd, row.charged_usd, row.refunded_usd, row.absorbed_usd)
    return tenant, str(row.examined), str(row.corrected), *map(format_usd, amounts)


@command.command()
@click.option("--check", is_flag=True, help="Only compare; the exit status is 1 if anything differs.")
@click.option("--projection", help="Only this one.", metavar="NAME")
@json_option
def rebuild(check: bool, projection: str | None, as_json: bool) -> int:
    """Compute balances and sums from their records again, and replace those that differ."""
    query = RebuildProjections(check=check, projection=projection)
    done = run(lambda me: me.ask(PROJECTION_REBUILD, query, timeout_seconds=_ALL_RECORDS_SECONDS))
    click.echo(done.model_dump_json(indent=2) if as_json else "\n".join(format_rebuilt(done)))
    return 1 if check and any(each.different for each in done.projections) else 0


def format_rebuilt(done: RebuiltProjections) -> list[str]:
    """Return what was compared, and each difference."""
    lines = []
    for each in done.projections:
        if not each.different:
            lines.append(f"{each.name}: {each.compared} compared, all are what the records give")
            continue
        verb = "replaced" if done.replaced else "DIFFERENT"
        lines.append(f"{each.name}: {each.compared} compared, {each.different} {verb}")
        lines += [f"  {difference.subject}: {difference.detail}" for difference in each.differences]
        if each.different > len(each.differences):
            lines.append(f"  and {each.different - len(each.differences)} more")
    return lines


def format_partitions(found: LedgerPartitions) -> list[str]:
    """Return the table of partitions, and what retention does."""
    rows = [_row(partition) for partition in found.partitions]
    attempts, decisions = (
        f"{days} days" if days else "for ever"
        for days in (found.retention_attempts_days, found.retention_decisions_days)
    )
    lines = [
        format_table(_HEADS, rows, empty="there are no partitions"),
        f"attempts are kept {attempts}, decisions {decisions}; a month leaves as a whole, once all of it is older",
    ]
    detached = [partition for partition in found.partitions if partition.state is PartitionState.DETACHED]
    if detached and not found.retention_detached_days:
        lines.append(
            f"{len(detached)} detached and not dropped: back them up or not, then set KEYFERRY_RETENTION_DETACHED_DAYS"
        )
    return lines


def _row(partition: LedgerPartition) -> tuple[str, ...]:
    span = [
        f"{moment:%Y-%m-%d}" if moment else "other ids" for moment in (partition.from_moment, partition.until_moment)
    ]
    return (
        partition.table,
        partition.name,
        *span,
        f"~{partition.about_rows}",
        _format_size(partition.size_bytes),
        _describe(partition),
    )


def _describe(partition: LedgerPartition) -> str:
    match partition.state:
        case PartitionState.ATTACHED:
            return f"until {partition.leaves_at:%Y-%m-%d}" if partition.leaves_at else "kept"
        case PartitionState.DETACHED:
            since = f"detached {format_time(partition.detached_at)}"
            return f"{since}, dropped {partition.leaves_at:%Y-%m-%d}" if partition.leaves_at else since
        case PartitionState.DROPPED:
            return "dropped"


def _format_size(size_bytes: int) -> str:
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
