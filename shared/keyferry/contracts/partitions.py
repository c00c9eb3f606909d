"""The partitions of the ledger's tables, and how long their rows are kept. Pure."""

from enum import StrEnum

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.text import Count, Identifier, Moment


class PartitionState(StrEnum):
    """Where a partition's rows are."""

    ATTACHED = "attached"
    """In the table: whatever reads the table finds them."""
    DETACHED = "detached"
    """In a table of their own, which nothing reads any more."""
    DROPPED = "dropped"


class ListPartitions(Command):
    """Request the partitions of the ledger's tables."""


class LedgerPartition(Message):
    """One partition: the rows whose ids were made in a span of time."""

    table: Identifier
    name: Identifier
    state: PartitionState
    from_moment: Moment | None = None
    until_moment: Moment | None = None
    """The end, exclusive. Both are null for the partition of all other ids, those of wrong clocks included."""
    about_rows: Count
    """As PostgreSQL last estimated."""
    size_bytes: Count
    """With its indexes."""
    detached_at: Moment | None = None
    leaves_at: Moment | None = None
    """When it is detached, or dropped if it is detached already; null if it stays."""


class LedgerPartitions(Message):
    """All partitions, and after how many days rows leave their table; 0 means never."""

    partitions: list[LedgerPartition] = Field(default_factory=list)
    retention_attempts_days: Count
    retention_decisions_days: Count
    retention_detached_days: Count
