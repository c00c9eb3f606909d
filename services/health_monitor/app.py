"""The health monitor put together."""

import random
from datetime import UTC, datetime
from functools import partial

from keyferry.contracts.health import CircuitState
from keyferry.contracts.topology import Role
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from services.health_monitor.board import Board
from services.health_monitor.handlers import Handlers
from services.health_monitor.publication import Publication
from services.health_monitor.settings import HealthSettings

_FLUSH_SECONDS = 5.0


def create_app(settings: HealthSettings | None = None) -> Service:
    """A process of the health monitor, with `settings` or those of the environment. Raises SettingsError."""
    settings = settings or load(HealthSettings)
    service = Service(Role.HEALTH_MONITOR, settings)
    clock = partial(datetime.now, UTC)
    board = Board(settings.rules())
    publication = Publication(service.bus, board, clock)
    handlers = Handlers(
        board, changed=publication.changed, hasty=settings.hasty_timeout(), clock=clock, jitter=random.random
    )
    handlers.register(service.bus)
    service.opens(publication.start, publication.stop)
    service.drains(lambda: publication.flush(_FLUSH_SECONDS))
    service.needs("the health bucket brought in line", lambda: publication.synced)

    def facts() -> dict[str, str]:
        states = board.states()
        return {
            "targets": str(len(board)),
            "open": str(states[CircuitState.OPEN]),
            "cooling": str(states[CircuitState.COOLING]),
            "attempts": str(board.figures.heard),
            "repeated": str(board.figures.repeated),
            "stale": str(board.figures.stale),
            "unwatched": str(board.figures.unwatched),
            "unpublished": str(publication.waiting),
        }

    service.facts = facts
    return service
