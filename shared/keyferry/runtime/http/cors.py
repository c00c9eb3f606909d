"""Cross-origin requests of browsers: which web pages may call an API (Fetch Standard, "CORS protocol")."""

import importlib
import re
from collections.abc import Container, Sequence
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from keyferry.contracts.browser_origin import ORIGIN_PATTERN
from keyferry.runtime.http.asgi import Application, Receive, Scope, Send, get_header

_ORIGIN = re.compile(ORIGIN_PATTERN[1:-1], re.ASCII)
_MAX_AGE_SECONDS = 600
EXPOSED_HEADERS = (
    "location",
    "retry-after",
    "retry-after-ms",
    "x-keyferry-added",
    "x-keyferry-allowance",
    "x-keyferry-attempts",
    "x-keyferry-credential",
    "x-keyferry-decision-id",
    "x-keyferry-dropped",
    "x-keyferry-fallback",
    "x-keyferry-model",
    "x-keyferry-power-level",
    "x-keyferry-provider",
    "x-keyferry-replaces",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-request-id",
    "x-should-retry",
)
"""What a page may read of an answer besides its body."""


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    origins = frozenset(part.strip().lower() for part in value.split(",") if part.strip())
    if any(origin != "*" and not _ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError(
            "write origins as a browser sends them, without a path: https://app.example.com,http://localhost:3000"
        )
    return origins


Origins = Annotated[frozenset[str], NoDecode, BeforeValidator(_origins)]
"""Origins, comma-separated; `*` for all."""


def allow_origins(
    app: Application, origins: frozenset[str], methods: Sequence[str], more: Container[str] = ()
) -> Application:
    """Return `app` with answers to preflight requests, and CORS headers on all answers to pages of `origins`.

    `more` are further origins, which may change at any time. Cookies and other credentials of the browser are not allowed:
    callers send a token, which a foreign page does not have.
    """
    return app if not origins and more == () else _PageRequests(app, origins, methods, more)


class _PageRequests:
    """Passes requests with an Origin header through Starlette's middleware, and all others on at once."""

    def __init__(self, app: Application, origins: frozenset[str], methods: Sequence[str], more: Container[str]) -> None:
        self._app = app
        self._origins = origins
        self._methods = methods
        self._more = more

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        origin = get_header(scope, b"origin") if scope["type"] == "http" else None
        if origin is None or not (self._origins or origin in self._more):
            await self._app(scope, receive, send)
        else:
            more = frozenset({origin}) if origin in self._more else frozenset[str]()
            await self._middleware(self._origins | more)(scope, receive, send)

    def _middleware(self, origins: frozenset[str]) -> Application:
        # Imported only where it is used: it would be a tenth of a process's start.
        middleware = importlib.import_module("starlette.middleware.cors").CORSMiddleware
        wrapped: Application = middleware(
            self._app,
            allow_origins=sorted(origins),
            allow_methods=list(self._methods),
            allow_headers=["*"],
            allow_credentials=False,
            expose_headers=list(EXPOSED_HEADERS),
            max_age=_MAX_AGE_SECONDS,
        )
        return wrapped
