"""Which of a tenant's provider keys are paused because its tier includes fewer. Pure."""

from collections import Counter
from collections.abc import Iterable

from keyferry.contracts.key import KeyFacts


def paused_keys(keys: Iterable[KeyFacts], at_most: int | None) -> frozenset[str]:
    """Return the ids of one owner's keys beyond `at_most` per provider; None is any number.

    Those with the lowest priority number stay, and the older ones of equal priority: the ids sort by creation time.
    """
    if at_most is None:
        return frozenset()
    seen: Counter[str] = Counter()
    paused = []
    for key in sorted(keys, key=lambda key: (key.priority, key.key_id)):
        seen[key.provider] += 1
        if seen[key.provider] > at_most:
            paused.append(key.key_id)
    return frozenset(paused)
