"""The answer to a request that never reaches the application."""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from keyferry.contracts import ids
from keyferry.runtime.http.problem import HttpProblem, render_error
from keyferry.runtime.http.security_headers import SECURITY_HEADERS


def render_response(problem: HttpProblem) -> bytes:
    """Return the bytes of a whole response, after which the connection is closed."""
    request_id = ids.new(ids.REQUEST)
    body = render_error(problem, request_id)
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "x-request-id": request_id,
        "cache-control": "no-store",
        **dict(SECURITY_HEADERS),
        **problem.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[problem.status] + lines.encode("latin-1") + b"\r\n" + body
