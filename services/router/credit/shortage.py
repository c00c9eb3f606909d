"""What is known of an account that has less than an attempt may cost. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shortage:
    """An account that has less than an attempt may cost."""

    account: str
    available: int
    """What is left that is neither spent nor leased."""
    held: int = 0
    """What is leased and not settled: some of it becomes available again."""
    known: bool = True
    """Whether the ledger knows the account."""
