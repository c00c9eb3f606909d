"""The error that HTTP handlers raise: a status and the fields of OpenAI's error object. Pure."""

import json
from dataclasses import dataclass, field

INVALID_REQUEST = "invalid_request_error"
CLOSE_CONNECTION = {"connection": "close"}
"""For answers sent before the request body was read."""


@dataclass(eq=False)
class HttpProblem(Exception):
    """An HTTP status and the content of the error object; `type` and `code` are OpenAI's where OpenAI defines them.

    `message` and `param` are sent to the client, so they must not repeat secrets from the request. Not frozen: context
    managers set the traceback of an exception that passes through them.
    """

    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def render_error(problem: HttpProblem, request_id: str) -> bytes:
    """Render `problem` as the JSON body of a response: OpenAI's error object, and the request's id under `keyferry`."""
    error = {
        "message": problem.message,
        "type": problem.type,
        "param": problem.param,
        "code": problem.code,
        "keyferry": {"request_id": request_id},
    }
    return json.dumps({"error": error}).encode()
