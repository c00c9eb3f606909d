"""Handlers of ratings."""

from collections.abc import Callable
from datetime import datetime

from keyferry.contracts.feedback import MAX_RATERS, Feedback, ListFeedback, SaveFeedback, TenantRatings
from keyferry.contracts.routing_management import FEEDBACK_LIST, FEEDBACK_SAVE
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.database_outage import refuse_outages
from services.usage_ledger.feedback.store import FeedbackStore, NothingToRate, TooManyRatings, UnknownRequest


class FeedbackHandlers:
    """Answers requests about ratings. All raise Refused."""

    def __init__(self, store: FeedbackStore, committed: Callable[[], None], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._committed = committed
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.respond(FEEDBACK_SAVE, self.save)
        bus.respond(FEEDBACK_LIST, self.list)

    async def save(self, command: SaveFeedback) -> Feedback:
        """Store a rating, and publish the tenant's new sums."""
        try:
            with refuse_outages():
                feedback = await self._store.save(command, self._clock())
        except UnknownRequest:
            message = (
                f"there is no request {command.request_id} of {command.tenant} in the ledger: give the `x-request-id` of an"
                " answer; it is recorded about a second after the answer"
            )
            raise Refused(ErrorCode.NOT_FOUND, message) from None
        except NothingToRate:
            message = f"the request {command.request_id} got no complete answer, so there is nothing to rate"
            raise Refused(ErrorCode.CONFLICT, message) from None
        except TooManyRatings:
            message = (
                f"the request {command.request_id} has {MAX_RATERS} ratings, the most there may be: rate another answer"
            )
            raise Refused(ErrorCode.CONFLICT, message) from None
        self._committed()
        return feedback

    async def list(self, command: ListFeedback) -> TenantRatings:
        """Return the sums of a tenant's ratings."""
        with refuse_outages():
            return await self._store.list_sums(command.tenant)
