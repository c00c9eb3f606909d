"""Weighted choices that are stable: the same seed gets the same share of the same step, on every router.

The share is found by a hash in the order of the weights. If the last weight of a split grows at the cost of those before it,
as a canary's does, every seed that it had stays with it. Pure.
"""

from collections.abc import Sequence
from hashlib import blake2b

_BITS = 64


def pick_share(weights: Sequence[int], seed: str, rule: str, step: int) -> int:
    """Return the index of the weight that `seed` falls to. `weights` are positive; rule and step make splits independent."""
    digest = blake2b(f"{rule}\x00{step}\x00{seed}".encode("utf-8", "surrogatepass"), digest_size=_BITS // 8).digest()
    point = int.from_bytes(digest, "big") * sum(weights) >> _BITS
    for index, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return index
    raise AssertionError("the point lies below the sum of the weights")


def format_share(weight: int, total: int) -> str:
    """Return a share for people: `10 %`, `33.3 %`, and `less than 0.1 %`, since no weight is nothing."""
    tenths = weight * 1000 // total
    if tenths == 0:
        return "less than 0.1 %"
    return f"{tenths // 10} %" if tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10} %"
