"""Routes for dead letters: records that no table could take as they were, of every tenant."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.topology import DEAD_LETTER_DISCARD, DEAD_LETTER_LIST
from keyferry.contracts.usage import DeadLetters, DiscardDeadLetters, Discarded, ListDeadLetters
from services.console.access import RouteSpec
from services.console.bodies import DeadLetterQuery
from services.console.service_client import ServiceClient
from services.console.tenant_bodies import DiscardBody
from services.console.tenant_context import CurrentTenant


class DeadLetterRoutes:
    """The routes under `/ops/dead-letters`, which only an operator may call."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/dead-letters", "list_dead_letters", self.list),
            RouteSpec("POST", "/dead-letters/discard", "discard_dead_letters", self.discard),
        )

    async def list(self, context: CurrentTenant, query: Annotated[DeadLetterQuery, Query()]) -> DeadLetters:
        """List the dead letters of every tenant, oldest first, at most 50, with the reasons."""
        return await self._services.read(DEAD_LETTER_LIST, ListDeadLetters(after=query.after))

    async def discard(self, context: CurrentTenant, body: DiscardBody) -> Discarded:
        """Remove the dead letters up to a number, once they have been dealt with. This cannot be undone; the audit log has it."""
        return await self._services.change(
            DEAD_LETTER_DISCARD, DiscardDeadLetters(up_to=body.up_to, actor=context.actor)
        )
