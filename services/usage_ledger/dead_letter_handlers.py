"""Handlers of requests that show dead letters and replay them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keyferry.contracts.dead_letters import DeadLetterDetail, GetDeadLetter, ReplayDeadLetters, ReplayedLetters
from keyferry.contracts.ledger_management import DEAD_LETTER_GET, DEAD_LETTER_REPLAY
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.database_outage import refuse_outages
from services.usage_ledger.dead_letter_replay import DeadLetterReplay, NoSuchLetter
from services.usage_ledger.handlers import refuse_bus_errors
from services.usage_ledger.ingestion import PricesUnknown
from services.usage_ledger.replayed_record import NotReplayable


class DeadLetterHandlers:
    """Handlers of one process, which raise Refused."""

    def __init__(self, replay: DeadLetterReplay) -> None:
        self._replay = replay

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the subjects of dead letters."""
        bus.respond(DEAD_LETTER_GET, self.get)
        bus.respond(DEAD_LETTER_REPLAY, self.replay)

    async def get(self, command: GetDeadLetter) -> DeadLetterDetail:
        """Return one dead letter with its whole original."""
        async with _refuse_errors():
            return await self._replay.show(command)

    async def replay(self, command: ReplayDeadLetters) -> ReplayedLetters:
        """Take dead letters in again; the audit has it before anything is recorded."""
        async with _refuse_errors():
            return await self._replay.replay(command)


@asynccontextmanager
async def _refuse_errors() -> AsyncIterator[None]:
    try:
        async with refuse_bus_errors():
            with refuse_outages():
                yield
    except NoSuchLetter as error:
        raise Refused(ErrorCode.NOT_FOUND, str(error)) from None
    except NotReplayable as error:
        raise Refused(ErrorCode.INVALID, str(error)) from None
    except PricesUnknown as error:
        raise Refused(ErrorCode.UNAVAILABLE, f"{error}: try again in a moment") from None
