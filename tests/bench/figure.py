"""A single number that has a goal."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure by its name, in the unit of its goal."""

    name: str
    found: float
