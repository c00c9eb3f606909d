"""Audit events of the monitor, which has no tables: each is acknowledged on disk before its action takes effect.

Events of a service are counted without gaps, so that the ledger detects a lost one. The count is kept in the bucket
`audit_positions`, together with the last event itself: the event is written there first, and published again before the next
one and after a start. So a process that dies between the two steps leaves neither a gap nor a second event of that number; the
ledger knows an event that comes twice by its id. Two processes do not write the same number, since a write names the revision
that it replaces.
"""

import asyncio
from datetime import datetime

import orjson
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from keyferry.contracts import ids
from keyferry.contracts.audit import AuditEvent, AuditOutcome
from keyferry.contracts.buckets import AUDIT_POSITIONS
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import AUDIT_RECORDED, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.command_source import command_source

_SERVICE = Role.HEALTH_MONITOR.value
_KEY_SUBJECT = AUDIT_POSITIONS.key_subject(_SERVICE)
_TIMEOUT_SECONDS = 5.0
_TRIES = 5
_WRONG_REVISION = 10071
"""JetStream's error code where the revision is not the last one."""


class NotAudited(Exception):
    """The audit event is not stored, so its action must not take effect. The message can be shown."""


class AuditTrail:
    """Records what operators do to the health of targets."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._lock = asyncio.Lock()

    async def record(
        self, *, actor: str, action: str, tenant: str | None, target: str, details: dict[str, str], now: datetime
    ) -> None:
        """Store an event in the stream AUDIT. Raises NotAudited."""
        async with self._lock:
            try:
                for _ in range(_TRIES):
                    last, revision = await self._last()
                    if last is not None:
                        await self._publish(last)
                    event = AuditEvent(
                        event_id=ids.new(ids.AUDIT_EVENT),
                        service=_SERVICE,
                        tenant=tenant or PLATFORM_TENANT,
                        actor=actor,
                        action=action,
                        target=target,
                        outcome=AuditOutcome.DONE,
                        details=details,
                        source=command_source(),
                        at=now,
                        sequence=1 if last is None else last.sequence + 1,
                    )
                    if await self._reserve(event, revision):
                        await self._publish(event)
                        return
            except (NatsError, APIError, TimeoutError, MalformedMessage) as error:
                raise NotAudited(f"the audit event could not be stored ({type(error).__name__})") from None
        raise NotAudited("other processes write audit events at the same time")

    async def publish_last(self) -> None:
        """Publish the last event again, for the case that the process died before it was stored. Raises NotAudited."""
        async with self._lock:
            try:
                last, _ = await self._last()
                if last is not None:
                    await self._publish(last)
            except (NatsError, APIError, TimeoutError, MalformedMessage) as error:
                raise NotAudited(
                    f"the last audit event could not be published again ({type(error).__name__})"
                ) from None

    async def _last(self) -> tuple[AuditEvent | None, int]:
        """Return the last event and its revision; None and 0 before the first."""
        query = orjson.dumps({"last_by_subj": _KEY_SUBJECT})
        subject = f"$JS.API.DIRECT.GET.{AUDIT_POSITIONS.stream}"
        answer = await self._bus.client.request(subject, query, timeout=_TIMEOUT_SECONDS)
        headers = answer.headers or {}
        if headers.get("Status") == "404":
            return None, 0
        return AuditEvent.decode(answer.data), int(headers["Nats-Sequence"])

    async def _reserve(self, event: AuditEvent, revision: int) -> bool:
        """Write the event as the last one; return False if another process was faster."""
        try:
            await self._bus.jetstream.publish(
                _KEY_SUBJECT,
                event.encode(),
                timeout=_TIMEOUT_SECONDS,
                headers={"Nats-Expected-Last-Subject-Sequence": str(revision)},
            )
        except APIError as error:
            if error.err_code == _WRONG_REVISION:
                return False
            raise
        return True

    async def _publish(self, event: AuditEvent) -> None:
        await self._bus.jetstream.publish(
            AUDIT_RECORDED.format(service=_SERVICE),
            event.encode(),
            timeout=_TIMEOUT_SECONDS,
            headers={"Nats-Msg-Id": event.event_id},
        )
