"""The share of a counter that one router has taken in advance, so that most requests need no round trip to the bus.

The counter on the bus is the sum of what all routers have taken and not given back. A router adds a block to it, and may spend
as much of the block as lay below the limit: what it added beyond is given back. Since the server adds one block after the
other, what may be spent in all never exceeds the limit. Pure.
"""

SHARE = 16
"""A block is one sixteenth of what is left: small enough to leave next to nothing unspent, and 1 near the limit."""


class Block:
    """One router's share of one counter, whose limit is fixed."""

    def __init__(self, limit: int, share: int = SHARE) -> None:
        self.limit = limit
        self._share = share
        self.available = 0
        """Taken from the counter, and not spent yet."""
        self.left = limit
        """What nobody had taken when the counter was last read."""

    def spend(self, amount: int) -> bool:
        """Spend an amount of what is available, if there is enough of it."""
        if amount > self.available:
            return False
        self.available -= amount
        return True

    def amount_to_take(self, first: int, wanted: int) -> int:
        """Return how much to add to the counter.

        `first` is what the first of those who wait needs, `wanted` what all of them need. More than what is left is only asked
        for if the first needs it, since others may have given back meanwhile.
        """
        missing_first, missing = first - self.available, wanted - self.available
        return max(missing_first, min(max(missing, self.left // self._share), self.left), 1)

    def take(self, taken: int, before: int) -> int:
        """Account for an amount that was added to a counter at `before`; return how much of it to give back."""
        granted = min(max(self.limit - before, 0), taken)
        self.available += granted
        self.left = max(0, self.limit - before - granted)
        return taken - granted

    def read(self, value: int) -> None:
        """Account for the counter's value, to which nothing was added."""
        self.left = max(0, self.limit - value)

    def give_back(self) -> int:
        """Return everything available, to be taken off the counter."""
        amount, self.available = self.available, 0
        self.left = min(self.limit, self.left + amount)
        return amount

    @property
    def remaining(self) -> int:
        """What may still be spent, as far as this router knows."""
        return self.left + self.available
