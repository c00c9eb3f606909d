"""The deletion of a tenant: what its services remove, what they keep and why, and the report of it. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.text import Count, Explanation, Identifier, Moment


class Treatment(StrEnum):
    """What becomes of a tenant's rows in a table."""

    REMOVED = "removed"
    REDUCED = "reduced"
    """What is about people is removed or replaced; sums, or the row's id, stay."""
    KEPT = "kept"


class EraseTenant(Message):
    """Remove a part of what a service has of a tenant, or only count it. Repeating it is harmless."""

    tenant: TenantId
    count_only: bool = False
    actor: Actor = "tenant-directory"
    """Who asked for the deletion, for the audit."""


class TenantRows(Message):
    """How many rows of a tenant a table has now, and what becomes of them."""

    table: Identifier
    rows: Count
    treatment: Treatment
    reason: Explanation
    """What the rows are, and why they are kept if they are."""


class ErasedTenant(Message):
    """What a service has of a tenant after a step."""

    tables: Annotated[list[TenantRows], Field(max_length=1000)]
    done: bool
    """Whether nothing is left that is to be removed."""


class DeleteTenant(Command):
    """Delete a tenant for good: it is suspended at once, and then everything of it is removed that need not be kept."""

    tenant: TenantId
    confirm: TenantId
    """The tenant's id again."""
    actor: Actor = "operator"


class GetDeletion(Command):
    """Request the report of a tenant's deletion."""

    tenant: TenantId


class ErasedRows(Message):
    """What the deletion did with a tenant's rows in one table."""

    table: Identifier
    treatment: Treatment
    found: Count
    """Rows when the deletion began, and those that came later."""
    left: Count
    """Rows after it."""
    reason: Explanation


class DeletionPart(Message):
    """How far one service is."""

    service: Identifier
    done: bool
    tables: list[ErasedRows]
    waits_for: Explanation | None = None
    """Why it is not done yet, as far as known."""


class TenantDeletion(Message):
    """The report of a tenant's deletion, while it runs and for ever after."""

    tenant: TenantId
    requested_at: Moment
    requested_by: Actor
    finished_at: Moment | None = None
    """When nothing was left for the first time; null while it runs."""
    parts: list[DeletionPart]
    elsewhere: list[Explanation]
    """What is outside of the tables, and when it goes."""
