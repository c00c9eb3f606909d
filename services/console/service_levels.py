"""Which management requests count for which service level, and how long they take.

Requests that call a provider or another company, stream, or read everything there is take as long as that takes: they count for
none. So do the commands of the command line, which have the same effects.
"""

import time
from collections.abc import Callable

from keyferry.contracts.service_levels import OBJECTIVES, ServiceLevelName
from keyferry.runtime.http.asgi import Application, Message, Receive, Scope, Send
from services.console.access import ALLOWED, COMMANDS_PATH, INSTALLATION_PREFIX, OPERATOR_PREFIX, OWN_PREFIX

_FIGURES = frozenset(
    {
        *("/analytics", "/credits/history", "/health/outages", "/invoices", "/invoices/{month}", "/ledger/margin"),
        *("/power-level/comparison", "/recommendations", "/requests", "/requests/{request_id}", "/usage/breakdown"),
        *("/usage/errors", "/usage/forecast", "/usage/latency", "/usage/savings", "/usage/series", "/usage/summary"),
        *("/usage/tags", "/usage/top-models"),
    }
)
"""What dashboards read with GET, after the prefix."""
_UNTIMED = frozenset(
    {
        ("POST", "/provider-keys"),
        ("POST", "/provider-keys/test"),
        ("POST", "/provider-keys/{key_id}/test"),
        ("POST", "/provider-keys/{key_id}/rotate"),
        ("POST", "/provider-keys/{key_id}/revert"),
        ("PUT", "/endpoints/{name}"),
        ("GET", "/events"),
        ("GET", "/export"),
        ("GET", "/requests/export"),
        ("GET", "/audit/export"),
        ("GET", "/audit/verify"),
        ("GET", "/compliance"),
        ("GET", "/vault/verify"),
        ("POST", "/vault/rotate-kek"),
        ("POST", "/vault/rotate-data-keys"),
        ("POST", "/vault/shred"),
        ("GET", "/services"),
        ("POST", "/alerts/rules/preview"),
        ("POST", "/routing/rules/dry-run"),
        ("POST", "/recommendations/draft"),
        ("GET", "/feedback/preview"),
        ("POST", "/ledger/rerate"),
        ("POST", "/dead-letters/replay"),
        ("POST", "/dead-letters/discard"),
        ("POST", "/reconciliations"),
        ("POST", "/notification-channels/send-code"),
        ("POST", "/notification-channels/{channel_id}/test"),
        ("POST", "/notification-channels/{channel_id}/replay"),
        ("POST", "/webhooks/{endpoint_id}/test"),
        ("POST", "/webhooks/{endpoint_id}/replay"),
        ("GET", "/reports/{report_id}/preview"),
        ("POST", "/reports/{report_id}/send"),
        ("POST", "/integrations"),
        ("POST", "/integrations/{secret_id}/rotate"),
        ("GET", "/credits/customer"),
        ("POST", "/credits/checkouts"),
        ("POST", "/credits/checkouts/{purchase}/cancel"),
        ("POST", "/credits/payments/check-missing"),
        ("POST", "/credits/top-up/resume"),
        ("GET", "/billing/subscription"),
        ("POST", "/billing/subscription"),
        ("PUT", "/billing/subscription"),
        ("POST", "/billing/subscription/cancel"),
        ("POST", "/billing/packages/sync"),
        ("POST", "/billing/stripe/events/replay"),
        ("POST", "/billing/stripe/reconciliations"),
        ("POST", "/billing/lago/events/replay"),
        ("POST", "/billing/lago/backfill"),
    }
)
"""Method and path after the prefix."""
_PREFIXES = (OPERATOR_PREFIX, INSTALLATION_PREFIX, OWN_PREFIX)
"""The longest first: each begins with the next."""

Count = Callable[[ServiceLevelName, bool], None]
"""Counts an event, and whether it was good."""


def level_of(method: str, template: str) -> ServiceLevelName | None:
    """Return the level that requests of a route count for; None for no level."""
    if (method, template) not in ALLOWED or template == COMMANDS_PATH:
        return None
    path = template.removeprefix(next(prefix for prefix in _PREFIXES if template.startswith(prefix)))
    if (method, path) in _UNTIMED:
        return None
    return ServiceLevelName.DASHBOARD if method == "GET" and path in _FIGURES else ServiceLevelName.MANAGEMENT


class TimedApplication:
    """Wraps the console's application, and counts its requests for the levels."""

    def __init__(self, app: Application, count: Count, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._count = count
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        await self._app(scope, receive, send_on)
        self._note(scope, status, self._clock() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        template = getattr(scope.get("route"), "path", None)
        failed = status >= 500
        if template is None:
            # Refused before the route was looked up. What nobody could ask, an unknown address or credential, does not count.
            name = ServiceLevelName.MANAGEMENT if failed and str(scope["path"]).startswith(OWN_PREFIX) else None
        else:
            name = level_of(str(scope["method"]), template)
        if name is None:
            return
        in_time = seconds * 1000 <= (OBJECTIVES[name].threshold_ms or 0)
        if status or not in_time:  # without an answer, and in time: the client went away
            self._count(name, in_time and not failed)
