"""What the benchmark needs of a thing it measures: an address, processes to watch, and an account."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from tests.bench.case import Kind


@dataclasses.dataclass(frozen=True)
class Target:
    """Where the load goes.

    Attributes:
        base_url: scheme, host and port on loopback, then the path up to and without `/chat/completions`.
        model: the model name the request body carries.
        token: bearer token, or None where the system asks for none. Kept out of argv and of every output.
    """

    base_url: str
    model: str
    token: str | None = dataclasses.field(default=None, repr=False)


class System(Protocol):
    """A running system under measurement."""

    @property
    def name(self) -> str:
        """Its name in every table."""

    def target(self, kind: Kind) -> Target:
        """Return where requests of this kind go."""

    def processes(self) -> Mapping[str, int]:
        """Process name to process id, of everything that works on a request, children not listed."""

    def accounted(self) -> int | None:
        """Return how many requests were durably recorded since the start, or None if no record is kept."""
