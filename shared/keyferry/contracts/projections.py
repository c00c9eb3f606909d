"""Projections of the ledger, which can be computed from its records again: checking and rebuilding them. Pure."""

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor
from keyferry.contracts.text import Count, Explanation, Line, Moment

MAX_NAMED_DIFFERENCES = 50


class RebuildProjections(Command):
    """Compute projections from the records that they are of, and compare or replace them."""

    check: bool = True
    """Only compare."""
    projection: Line | None = None
    """Only this one; null for all."""
    actor: Actor = "operator"


class ProjectionDifference(Message):
    """A part of a projection that is not what the records give."""

    subject: Explanation
    """Which part: an account, an account's day, a day of usage."""
    detail: Explanation


class CheckedProjection(Message):
    """One projection, compared with its records."""

    name: Line
    compared: Count
    """How many parts it has."""
    different: Count
    differences: list[ProjectionDifference] = Field(max_length=MAX_NAMED_DIFFERENCES)
    """The first of them."""


class RebuiltProjections(Message):
    """What was compared, and whether what differed was replaced."""

    projections: list[CheckedProjection]
    replaced: bool
    at: Moment
