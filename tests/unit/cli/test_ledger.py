"""`keyferry ledger partitions` shows every month, and when it leaves."""

from datetime import UTC, datetime, timedelta

from keyferry.cli.ledger import format_partitions
from keyferry.contracts.partitions import LedgerPartition, LedgerPartitions, PartitionState

OCTOBER, NOVEMBER = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)


def partition(state: PartitionState, **changes: object) -> LedgerPartition:
    values = {
        "table": "decisions",
        "name": "decisions_2026_10",
        "state": state,
        "from_moment": OCTOBER,
        "until_moment": NOVEMBER,
        "about_rows": 1200,
        "size_bytes": 3 * 1024 * 1024,
    }
    return LedgerPartition.model_validate(values | changes)


def shown(*partitions: LedgerPartition, detached_days: int = 0) -> str:
    found = LedgerPartitions(
        partitions=list(partitions),
        retention_attempts_days=0,
        retention_decisions_days=30,
        retention_detached_days=detached_days,
    )
    return "\n".join(format_partitions(found))


def test_a_month_in_its_table() -> None:
    text = shown(partition(PartitionState.ATTACHED, leaves_at=NOVEMBER + timedelta(days=30)))
    for part in ("2026-10-01", "2026-11-01", "~1200", "3.0 MB", "until 2026-12-01"):
        assert part in text
    assert "attempts are kept for ever, decisions 30 days" in text


def test_the_partition_of_other_ids() -> None:
    text = shown(partition(PartitionState.ATTACHED, from_moment=None, until_moment=None, size_bytes=800))
    assert text.count("other ids") == 2
    assert "800 B" in text
    assert "kept" in text


def test_detached_months_are_pointed_out_unless_they_are_dropped_by_themselves() -> None:
    detached = partition(PartitionState.DETACHED, detached_at=NOVEMBER)
    assert "KEYFERRY_RETENTION_DETACHED_DAYS" in shown(detached)
    leaving = detached.model_copy(update={"leaves_at": NOVEMBER + timedelta(days=9)})
    text = shown(leaving, partition(PartitionState.DROPPED), detached_days=9)
    assert "dropped 2026-11-10" in text
    assert "KEYFERRY_RETENTION_DETACHED_DAYS" not in text
