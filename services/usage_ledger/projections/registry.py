"""What can be computed from the ledger's records again.

Each area with such tables adds one `Rebuildable` to the list that the service is assembled with.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from keyferry.contracts.projections import MAX_NAMED_DIFFERENCES, CheckedProjection, ProjectionDifference


class Rebuildable(Protocol):
    """A projection. Both methods raise DatabaseUnavailable."""

    @property
    def name(self) -> str:
        """What an operator calls it: `accounts`."""

    async def check(self) -> CheckedProjection:
        """Compare it with its records, as of one moment, while others write."""

    async def rebuild(self) -> CheckedProjection:
        """Replace what differs by what the records give; return what differed before."""


@runtime_checkable
class HourlyChecked(Rebuildable, Protocol):
    """A projection that is checked every hour, and not on request alone, which may read all records."""

    async def check_recent(self) -> CheckedProjection:
        """Compare what has changed since the last time that nothing differed. Raises DatabaseUnavailable."""


class UnknownProjection(Exception):
    """There is no projection of this name."""


def choose_projections(known: Sequence[Rebuildable], name: str | None) -> Sequence[Rebuildable]:
    """Return the projection of this name, or all for None. Raises UnknownProjection."""
    if name is None:
        return known
    chosen = [projection for projection in known if projection.name == name]
    if not chosen:
        raise UnknownProjection(", ".join(projection.name for projection in known))
    return chosen


def report_differences(name: str, compared: int, differences: Sequence[ProjectionDifference]) -> CheckedProjection:
    """Return the report about a projection, with the first of its differences."""
    return CheckedProjection(
        name=name,
        compared=compared,
        different=len(differences),
        differences=list(differences[:MAX_NAMED_DIFFERENCES]),
    )
