"""Serves the page: its document at every address within it, its files with their compressed forms. Needs no credential."""

import secrets
from collections.abc import Sequence
from urllib.parse import parse_qs

from keyferry.runtime.http.asgi import Receive, Scope, Send, get_header
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.negotiation import accepts_html
from services.console.page.document import PAGE_HEADERS, content_security_policy
from services.console.page.encoding import choose_encoding, matches
from services.console.page.files import BuiltPage, PageFile, PageFiles, is_immutable
from services.console.page.paths import ASSETS_PREFIX
from services.console.page.unbuilt import RELOAD_SECONDS, UNBUILT_POLICY, render_unbuilt
from services.console.sign_in.failures import SIGN_IN_PATH, describe_failure

_NONCE_BYTES = 18
_METHODS = ("GET", "HEAD")
_A_YEAR = "public, max-age=31536000, immutable"
_REVALIDATED = "no-cache"
_UNKNOWN = "there is nothing at this address: the management API is under /api/v1"

Headers = list[tuple[str, str]]


class PageSite:
    """An ASGI application. `api_origin` is where the page sends requests besides the console."""

    def __init__(self, files: PageFiles, api_origin: str | None) -> None:
        self._files = files
        self._api_origin = api_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises HttpProblem for other methods, and for what is neither a file nor an address of the page."""
        if scope["method"] not in _METHODS:
            headers = {"allow": ", ".join(_METHODS)}
            message = f"this address takes {headers['allow']}: the management API is under /api/v1"
            raise HttpProblem(405, INVALID_REQUEST, "method_not_allowed", message, headers=headers)
        path, page = str(scope["path"]), await self._files.current()
        file = page.files.get(path) if page else None
        if file is not None:
            await _send_file(scope, send, path, file)
        elif path != "/" and (path.startswith(ASSETS_PREFIX) or not accepts_html(get_header(scope, b"accept"))):
            raise HttpProblem(404, INVALID_REQUEST, "unknown_url", _UNKNOWN)
        elif page is None:
            await _send_unbuilt(scope, send)
        else:
            await self._send_document(scope, send, page)

    async def _send_document(self, scope: Scope, send: Send, page: BuiltPage) -> None:
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        policy = content_security_policy(nonce, page.document.script_hashes, self._api_origin)
        headers = [*PAGE_HEADERS, ("content-security-policy", policy)]
        await _send(scope, send, 200, headers, page.document.render(nonce))


async def _send_file(scope: Scope, send: Send, path: str, file: PageFile) -> None:
    encoding = choose_encoding(get_header(scope, b"accept-encoding"), file.encoded)
    etag = f'"{file.etag}-{encoding}"' if encoding else f'"{file.etag}"'
    headers: Headers = [("cache-control", _A_YEAR if is_immutable(path) else _REVALIDATED), ("etag", etag)]
    if file.encoded:
        headers.append(("vary", "accept-encoding"))
    if matches(get_header(scope, b"if-none-match"), etag):
        await send({"type": "http.response.start", "status": 304, "headers": _encode(headers)})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    headers.append(("content-type", file.media_type))
    if encoding:
        headers.append(("content-encoding", encoding))
    await _send(scope, send, 200, headers, file.encoded[encoding] if encoding else file.content)


async def _send_unbuilt(scope: Scope, send: Send) -> None:
    failure = None
    if scope["path"] == SIGN_IN_PATH:
        codes = parse_qs(scope["query_string"].decode("latin-1")).get("error", [""])
        failure = describe_failure(codes[0])
    headers = [*PAGE_HEADERS, ("content-security-policy", UNBUILT_POLICY), ("retry-after", str(RELOAD_SECONDS))]
    await _send(scope, send, 503, headers, render_unbuilt(failure))


async def _send(scope: Scope, send: Send, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
    """Send a whole answer; for HEAD its headers only."""
    sized = [*headers, ("content-length", str(len(body)))]
    await send({"type": "http.response.start", "status": status, "headers": _encode(sized)})
    sent = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": sent, "more_body": False})


def _encode(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]
