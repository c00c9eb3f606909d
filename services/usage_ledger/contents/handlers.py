"""The handler of requests for stored content."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from keyferry.contracts.audit import AuditHead
from keyferry.contracts.content import GetContent, RequestContent
from keyferry.contracts.content_management import CONTENT_GET, CONTENT_RECORDED
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.contents.encryption import UnreadableContent
from services.usage_ledger.contents.intake import ContentIntake
from services.usage_ledger.contents.store import ContentStore
from services.usage_ledger.database_outage import refuse_outages


class ContentHandlers:
    """Handlers of one process. They raise Refused."""

    def __init__(
        self, store: ContentStore, intake: ContentIntake, publish_head: Callable[[AuditHead], Awaitable[None]]
    ) -> None:
        self._store = store
        self._intake = intake
        self._publish_head = publish_head

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`."""
        bus.pull(CONTENT_RECORDED, self._intake.on_contents)
        bus.respond(CONTENT_GET, self.read)

    async def read(self, command: GetContent) -> RequestContent:
        """Return the content of a request; the audit has the reading before anybody sees it."""
        with refuse_outages():
            try:
                found, head = await self._store.read(command)
            except UnreadableContent as error:
                raise Refused(ErrorCode.INTERNAL, f"the stored content cannot be read: {error}") from None
        with suppress(NatsError, APIError):  # the head of the chain is stored with its next entry otherwise
            await self._publish_head(head)
        return RequestContent(tenant=command.tenant, request_id=command.request_id, attempts=found)
