"""Cross-origin requests of browsers: which web pages may call an API (Fetch Standard, "CORS protocol")."""

import importlib
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from keyferry.runtime.http.asgi import Application

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", re.ASCII)
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


def allow_origins(app: Application, origins: frozenset[str], methods: Sequence[str]) -> Application:
    """Return `app` with answers to preflight requests, and CORS headers on all answers to pages of `origins`.

    Cookies and other credentials of the browser are not allowed: callers send a token, which a foreign page does not have.
    """
    if not origins:
        return app
    # Imported only where it is used: it would be a tenth of a process's start.
    middleware = importlib.import_module("starlette.middleware.cors").CORSMiddleware
    wrapped: Application = middleware(
        app,
        allow_origins=sorted(origins),
        allow_methods=list(methods),
        allow_headers=["*"],
        allow_credentials=False,
        expose_headers=list(EXPOSED_HEADERS),
        max_age=_MAX_AGE_SECONDS,
    )
    return wrapped
