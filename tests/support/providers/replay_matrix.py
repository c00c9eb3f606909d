"""Results of replayed recordings as test reports carry them, and the matrix made of them."""

from collections import Counter
from collections.abc import Iterable

REPLAY_RESULT = "replay_result"
"""The name of the reports' property."""


def replay_result(provider: str, kind: str, *, right: bool) -> str:
    """Return the property's value for one replayed recording."""
    return f"{provider} {kind} {'right' if right else 'wrong'}"


def replay_matrix(results: Iterable[str]) -> str:
    """Return a row for each provider and a column for each kind: recordings replayed right, of all."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for value in results:
        provider, kind, outcome = value.split(" ")
        counts[provider, kind, outcome] += 1
    providers = sorted({provider for provider, _, _ in counts})
    kinds = sorted({kind for _, kind, _ in counts})
    wide = max(len(name) for name in [*providers, "provider"])
    lines = ["provider".ljust(wide) + "".join(kind.rjust(18) for kind in kinds)]
    for provider in providers:
        cells = [_cell(counts[provider, kind, "right"], counts[provider, kind, "wrong"]) for kind in kinds]
        lines.append(provider.ljust(wide) + "".join(cell.rjust(18) for cell in cells))
    right = sum(count for (_, _, outcome), count in counts.items() if outcome == "right")
    return "\n".join([*lines, f"{right} right of {counts.total()}"])


def _cell(right: int, wrong: int) -> str:
    return f"{right}/{right + wrong}" if right + wrong else "."
