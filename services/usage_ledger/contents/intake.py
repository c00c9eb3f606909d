"""Takes in content from the stream CONTENTS, and removes it when its time is over. What cannot be read is dropped and logged."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from nats.aio.msg import Msg

from keyferry.contracts.content import CallContent, ContentRecord
from keyferry.contracts.content_management import CONTENT_RECORDED
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.tenancy import ContentPolicy, Tenant
from keyferry.runtime.bus.publishing import split_batch
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.usage_ledger.contents.encryption import ContentEncryption, UnreadableContent
from services.usage_ledger.contents.store import ContentStore

_log = logging.getLogger(__name__)

_PURGE_SECONDS = 600.0


class ContentIntake:
    """Stores content of tenants that want it stored now. `tenant_of` returns a tenant, None if it is unknown."""

    def __init__(
        self,
        store: ContentStore,
        encryption: ContentEncryption,
        tenant_of: Callable[[str], Tenant | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._encryption = encryption
        self._tenant_of = tenant_of
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def on_contents(self, messages: list[Msg]) -> None:
        """Store the content of batches. Raises DatabaseUnavailable, after which they are delivered again."""
        found: list[tuple[ContentRecord, CallContent]] = []
        for message in messages:
            for record in _records(message):
                if not self._is_wanted(record.tenant):
                    continue
                try:
                    found.append((record, self._encryption.open(record)))
                except UnreadableContent as error:
                    _log.error("content is dropped", extra={"attempt_id": record.attempt_id, "why": str(error)})
        if found:
            await self._store.insert(found, self._clock())

    async def start(self) -> None:
        """Begin to remove content whose time is over."""
        self._task = asyncio.create_task(self._purge(), name="remove expired content")

    async def stop(self) -> None:
        """Stop."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    def _is_wanted(self, tenant: str) -> bool:
        """Return whether the tenant still wants content stored: it may have been deleted, or have changed its mind."""
        known = self._tenant_of(tenant)
        return known is not None and known.deleted_at is None and known.content is not ContentPolicy.OFF

    async def _purge(self) -> None:
        while True:
            try:
                if removed := await self._store.purge(self._clock()):
                    _log.info("content whose time is over was removed", extra={"rows": removed})
            except DatabaseUnavailable:
                _log.warning("expired content cannot be removed while PostgreSQL is away")
            await asyncio.sleep(_PURGE_SECONDS)


def _records(message: Msg) -> list[ContentRecord]:
    try:
        _, lines = split_batch(message.data)
    except MalformedMessage as error:
        _log.error("a batch of content is dropped", extra={"why": str(error)})
        return []
    found = []
    for line in lines:
        try:
            found.append(ContentRecord.decode(line))
        except MalformedMessage as error:
            _log.error("content is dropped", extra={"subject": CONTENT_RECORDED.name, "why": str(error)})
    return found
