"""Routes for dead letters: records that no table could take as they were, of every tenant."""

from typing import Annotated

from fastapi import Path, Query

from keyferry.contracts.dead_letters import DeadLetterDetail, GetDeadLetter, ReplayDeadLetters, ReplayedLetters
from keyferry.contracts.ledger_management import DEAD_LETTER_GET, DEAD_LETTER_REPLAY
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.topology import DEAD_LETTER_DISCARD, DEAD_LETTER_LIST
from keyferry.contracts.usage import DeadLetters, DiscardDeadLetters, Discarded, ListDeadLetters
from services.console.access import RouteSpec
from services.console.bodies import DeadLetterQuery
from services.console.service_client import ServiceClient
from services.console.tenant_bodies import DiscardBody, ReplayBody
from services.console.tenant_context import CurrentTenant

REPLAY_SECONDS = 30.0


class DeadLetterRoutes:
    """The routes under `/ops/dead-letters`, which only an operator may call."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/dead-letters", "list_dead_letters", self.list),
            RouteSpec("GET", "/dead-letters/{number}", "get_dead_letter", self.get),
            RouteSpec("POST", "/dead-letters/replay", "replay_dead_letters", self.replay),
            RouteSpec("POST", "/dead-letters/discard", "discard_dead_letters", self.discard),
        )

    async def list(self, context: CurrentTenant, query: Annotated[DeadLetterQuery, Query()]) -> DeadLetters:
        """List the dead letters of every tenant, oldest first, at most 50, with the reasons."""
        return await self._services.read(DEAD_LETTER_LIST, ListDeadLetters(after=query.after))

    async def get(self, context: CurrentTenant, number: Annotated[int, Path(ge=1, le=BIGINT_MAX)]) -> DeadLetterDetail:
        """Return one dead letter with its whole original, its reason, and what to do about it."""
        return await self._services.read(DEAD_LETTER_GET, GetDeadLetter(number=number))

    async def replay(self, context: CurrentTenant, body: ReplayBody) -> ReplayedLetters:
        """Take records in again, once a build accepts them, or an edited copy of one; each is recorded once.

        A page is at most 50; `next` is where the following one begins. What is refused again stays, with its new reason.
        The audit log has each replay.
        """
        command = ReplayDeadLetters(**body.model_dump(), actor=context.actor)
        return await self._services.change(DEAD_LETTER_REPLAY, command, timeout_seconds=REPLAY_SECONDS)

    async def discard(self, context: CurrentTenant, body: DiscardBody) -> Discarded:
        """Remove the dead letters up to a number, or only that one, once they have been dealt with.

        This cannot be undone; the audit log has it.
        """
        command = DiscardDeadLetters(up_to=body.up_to, only=body.only, actor=context.actor)
        return await self._services.change(DEAD_LETTER_DISCARD, command)
