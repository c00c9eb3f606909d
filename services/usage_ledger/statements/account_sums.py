"""What was posted to a tenant's credits in a span, by kind. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from keyferry.contracts.statements import StatementEntryKind, StatementSum

CHARGES = frozenset({StatementEntryKind.CHARGE, StatementEntryKind.CORRECTION})
"""What requests took."""


@dataclass
class PostedSums:
    """How many transfers of each kind there are, and what they add up to."""

    transfers: dict[StatementEntryKind, int] = field(default_factory=dict)
    amounts: dict[StatementEntryKind, int] = field(default_factory=dict)

    def add(self, kind: StatementEntryKind, transfers: int, amount: int) -> None:
        """Add transfers of a kind."""
        self.transfers[kind] = self.transfers.get(kind, 0) + transfers
        self.amounts[kind] = self.amounts.get(kind, 0) + amount

    def total(self, kinds: Iterable[StatementEntryKind] = StatementEntryKind) -> int:
        """Return what the transfers of these kinds add up to, in micro-dollars."""
        return sum(self.amounts.get(kind, 0) for kind in kinds)

    def sums(self) -> list[StatementSum]:
        """Return the kinds that occur."""
        return [
            StatementSum(kind=kind, transfers=self.transfers[kind], amount_micro_usd=self.amounts[kind])
            for kind in StatementEntryKind
            if self.transfers.get(kind)
        ]
