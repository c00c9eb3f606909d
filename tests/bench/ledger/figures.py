"""Figures of the usage ledger that have a goal."""

from dataclasses import dataclass

INGEST = "attempts recorded, from the stream to the commit"
STORAGE = "bytes per request, attempt and decision with indexes"


@dataclass(frozen=True)
class LedgerFigure:
    """A figure by its name, in the unit of its goal."""

    name: str
    found: float
