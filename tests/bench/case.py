"""What is measured: the kinds of load and the number of clients."""

import dataclasses
import enum

from tests.bench.failure import BenchError


class Kind(enum.StrEnum):
    """A kind of load. `FIRST_TOKEN` is a stream at one client, timed to its first token instead of to its end."""

    PLAIN = "plain"
    STREAM = "stream"
    FIRST_TOKEN = "first-token"

    @property
    def streams(self) -> bool:
        """Whether the request asks for a streamed answer."""
        return self is not Kind.PLAIN


@dataclasses.dataclass(frozen=True, order=True)
class Case:
    """One load: its kind and the number of clients that each send the next request when the last is answered."""

    kind: Kind
    clients: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.clients}"


ALL_CASES = (
    *(Case(kind, clients) for kind in (Kind.PLAIN, Kind.STREAM) for clients in (1, 16, 64)),
    Case(Kind.FIRST_TOKEN, 1),
)


def cases_named(names: str) -> tuple[Case, ...]:
    """Return the cases of a comma-separated list such as `plain-1,stream-64`.

    Raises:
        BenchError: a name is not one of `ALL_CASES`.
    """
    by_name = {str(case): case for case in ALL_CASES}
    chosen = names.split(",")
    unknown = [name for name in chosen if name not in by_name]
    if unknown:
        raise BenchError(f"Unknown case {', '.join(unknown)}. Choose from: {', '.join(by_name)}.")
    return tuple(by_name[name] for name in chosen)
