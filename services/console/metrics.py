"""What the console counts: HTTP requests by the template of their route."""

import time

from keyferry.runtime.http.asgi import Scope
from keyferry.runtime.metrics.http_requests import CLIENT_CLOSED, UNKNOWN_ROUTE, count_http_request
from services.console.incoming_webhooks import is_webhook
from services.console.page.paths import is_page

_PAGE, _WEBHOOK = "page", "webhook"


class ManagementRequest:
    """One HTTP request from its arrival to its end."""

    __slots__ = ("_began", "_scope")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._began = time.perf_counter()

    def end(self, status: int | None) -> None:
        """Count the request; without a status its client was gone."""
        seconds = time.perf_counter() - self._began
        count_http_request(_route_of(self._scope), CLIENT_CLOSED if status is None else status, seconds)


def _route_of(scope: Scope) -> str:
    """Return the template of the route that answered, such as `/v1/tenants/{tenant}`."""
    template = getattr(scope.get("route"), "path", None)
    if isinstance(template, str):
        return template
    if is_webhook(scope["path"]):
        return _WEBHOOK
    return _PAGE if is_page(scope["path"]) else UNKNOWN_ROUTE
