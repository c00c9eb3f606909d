"""Exponential backoff with jitter. Pure."""

from dataclasses import dataclass

_MAX_DOUBLINGS = 64
"""Beyond any delay that is used, and far below what a float can hold."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from `first_seconds` up to `longest_seconds`.

    `jitter` is the random share of a delay: with 0.5 it lies between half of the full delay and the whole, with 0 it is fixed.
    """

    first_seconds: float
    longest_seconds: float
    jitter: float = 0.0

    def delay_seconds(self, failures: int, chance: float = 1.0) -> float:
        """Return the delay after `failures` earlier failures (0 for the first); `chance` is a random number from 0 to 1."""
        full_seconds = min(self.first_seconds * 2.0 ** min(failures, _MAX_DOUBLINGS), self.longest_seconds)
        return apply_jitter(full_seconds, self.jitter, chance)


def apply_jitter(seconds: float, jitter: float, chance: float) -> float:
    """Shorten a delay by up to the share `jitter`; `chance` is a random number from 0 to 1."""
    return seconds * (1 - jitter * (1 - chance))
