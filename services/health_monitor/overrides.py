"""Operators' overrides: checked, audited, kept in the bucket `overrides`, and obeyed by the registry.

Every process follows the bucket, so an override holds after a restart, and ends at its time even while no monitor runs: routers
read its `until` themselves.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from difflib import get_close_matches

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from keyferry.contracts.health import ForceHealth, Health, Override, ReleaseHealth, Selector, Target
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.route import Endpoint
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import OVERRIDES_VIEW
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.views import KvView, SnapshotFailed, ViewWriter
from services.health_monitor.audit_trail import AuditTrail, NotAudited
from services.health_monitor.registry import TargetHealthRegistry

_log = logging.getLogger(__name__)

_UNAVAILABLE = (NatsError, APIError, SnapshotFailed, OSError, TimeoutError, NotAudited)
_RETRIES = Backoff(first_seconds=0.25, longest_seconds=5.0)
_EXPIRY_ROUND_SECONDS = 5.0
_BUILT_IN = ("echo",)
_MAX_NAMED = 8


class OverrideKeeper:
    """The overrides of one process. `clock` returns the time in UTC; `on_change` receives every change of health."""

    def __init__(
        self,
        bus: Bus,
        registry: TargetHealthRegistry,
        *,
        endpoints: Callable[[], Iterable[Endpoint]],
        on_change: Callable[[Health], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._bus = bus
        self._registry = registry
        self._endpoints = endpoints
        self._on_change = on_change
        self._clock = clock
        self._audit = AuditTrail(bus)
        self._task: asyncio.Task[None] | None = None
        self.view = KvView(bus, OVERRIDES_VIEW)
        self.view.on_change(lambda: self._obey([override for _, override in self.view]))

    async def start(self) -> None:
        """Make the bucket readable, then follow it and remove what has expired."""
        self._task = asyncio.create_task(self._keep(), name="keep overrides")
        await self.view.start()

    async def stop(self) -> None:
        """Stop following; the bucket stays as it is."""
        await self.view.stop()
        if self._task is not None:
            await cancel_and_wait(self._task)

    def active(self) -> list[Override]:
        """Return the overrides that hold now, by their keys."""
        now = self._clock()
        return [override for _, override in sorted(self.view) if override.until > now]

    async def force(self, command: ForceHealth) -> Override:
        """Force circuits open or closed for a time. Raises Refused."""
        self._check(command, unseen=command.unseen)
        now = self._clock()
        override = Override(
            provider=command.provider,
            model=command.model,
            tenant=command.tenant,
            endpoint=command.endpoint,
            state=command.state,
            reason=command.reason,
            actor=command.actor,
            since=now,
            until=now + timedelta(seconds=command.for_seconds),
        )
        details = {"until": override.until.isoformat(), "reason": override.reason}
        await self._change(command, command.actor, f"health.force_{command.state}", details, override)
        return override

    async def release(self, command: ReleaseHealth) -> Override:
        """End an override before its time. Raises Refused."""
        override = self.view.get(command.key)
        if override is None or override.until <= self._clock():
            held = ", ".join(str(each) for each in self.active()[:_MAX_NAMED]) or "none"
            raise Refused(ErrorCode.NOT_FOUND, f"nothing forces {Selector(**_fields(command))}; forced now: {held}")
        await self._change(command, command.actor, "health.release", {"was": override.state.value}, None)
        return override

    async def _change(
        self, selector: Selector, actor: str, action: str, details: dict[str, str], override: Override | None
    ) -> None:
        """Audit a change, then make it."""
        writer = ViewWriter(self._bus.client, OVERRIDES_VIEW)
        try:
            await self._audit.record(
                actor=actor,
                action=action,
                tenant=selector.tenant,
                target=str(Selector(**_fields(selector))),
                details=details,
                now=self._clock(),
            )
            if override is None:
                await writer.delete(selector.key)
            else:
                await writer.put(selector.key, override.encode())
        except _UNAVAILABLE as error:
            reason = str(error) or type(error).__name__
            message = f"the bus did not take the change, so it may not hold: {reason}. Try again in a moment"
            raise Refused(ErrorCode.UNAVAILABLE, message) from None
        # At once here, and again when the view has it, as in every other process.
        rest = [each for key, each in self.view if key != selector.key]
        self._obey(rest if override is None else [*rest, override])

    def _check(self, selector: Selector, *, unseen: bool) -> None:
        """Refuse a selector that means nothing that is known. Raises Refused."""
        if (selector.tenant is None) != (selector.endpoint is None):
            raise Refused(ErrorCode.INVALID, "an endpoint is named together with the tenant that owns it")
        targets = [target for target, _ in self._registry.targets()]
        if selector.endpoint is not None:
            self._check_endpoint(selector, targets)
            return
        seen = {target.provider for target in targets}
        known = {*PROVIDERS, *_BUILT_IN, *seen}
        if selector.provider not in known and not unseen:
            raise Refused(
                ErrorCode.NOT_FOUND, f"there is no provider {selector.provider}{_suggest(selector.provider, known)}"
            )
        if selector.model is None or unseen or any(selector.selects(target) for target in targets):
            return
        models = {target.model for target in targets if target.provider == selector.provider}
        raise Refused(
            ErrorCode.NOT_FOUND,
            f"no attempt has called {selector.model} at {selector.provider} within the last day"
            f"{_suggest(selector.model, models)}. The model is named as the provider names it; to force one that nobody has"
            " called yet, say so (`--unseen`)",
        )

    def _check_endpoint(self, selector: Selector, targets: Iterable[Target]) -> None:
        named = {endpoint.name for endpoint in self._endpoints() if endpoint.tenant == selector.tenant}
        named |= {target.endpoint for target in targets if target.tenant == selector.tenant and target.endpoint}
        if selector.endpoint not in named:
            raise Refused(
                ErrorCode.NOT_FOUND,
                f"{selector.tenant} has no endpoint {selector.endpoint}{_suggest(selector.endpoint or '', named)}",
            )

    def _obey(self, overrides: Iterable[Override]) -> None:
        for change in self._registry.obey(overrides, self._clock()):
            self._on_change(change)

    async def _keep(self) -> None:
        """Mark the bucket as complete, publish the last audit event again, and remove expired overrides now and then."""
        writer = ViewWriter(self._bus.client, OVERRIDES_VIEW)
        failures, prepared = 0, False
        while True:
            try:
                if not prepared:
                    await writer.complete()
                    await self._audit.publish_last()
                    prepared = True
                for key, override in list(self.view):
                    if override.until <= self._clock():
                        await writer.delete(key)
                failures = 0
                await asyncio.sleep(_EXPIRY_ROUND_SECONDS)
            except _UNAVAILABLE as error:
                _log.warning("the overrides cannot be kept, retrying", extra={"error": type(error).__name__})
                await asyncio.sleep(_RETRIES.delay_seconds(failures))
                failures += 1


def _fields(selector: Selector) -> dict[str, str | None]:
    return {name: getattr(selector, name) for name in Selector.model_fields}


def _suggest(name: str, known: Iterable[str]) -> str:
    """Return the most similar known names, or all of a few, to append to a refusal."""
    names = sorted(known)
    close = get_close_matches(name, names, 3) or (names if len(names) <= _MAX_NAMED else [])
    return f": did you mean {' or '.join(close)}?" if close else ""
