"""`keyferry ledger`."""

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, format_time, json_option
from keyferry.contracts.ledger_management import PARTITION_LIST
from keyferry.contracts.partitions import LedgerPartition, LedgerPartitions, ListPartitions, PartitionState

_HEADS = ("TABLE", "PARTITION", "FROM", "UNTIL", "ROWS", "SIZE", "STATE")
_UNITS = ("B", "KB", "MB", "GB", "TB")


@click.group()
def command() -> None:
    """Show how the usage ledger stores attempts and decisions."""


@command.command()
@json_option
def partitions(as_json: bool) -> None:
    """List the months of attempts and decisions, and when each leaves."""
    found = run(lambda me: me.ask(PARTITION_LIST, ListPartitions()))
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_partitions(found)))


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
