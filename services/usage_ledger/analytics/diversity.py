"""Numbers that describe a distribution. Pure."""

import math
from collections.abc import Sequence


def effective_number(counts: Sequence[int]) -> float:
    """Return how many equally frequent kinds have the diversity of these: exp(Shannon entropy), the Hill number of order 1."""
    total = sum(counts)
    shares = [count / total for count in counts if count]
    return math.exp(-sum(share * math.log(share) for share in shares)) if shares else 0.0


def median(values: Sequence[int]) -> int | None:
    """Return the middle value, or the lower of the two middle ones; None without any."""
    return sorted(values)[(len(values) - 1) // 2] if values else None
