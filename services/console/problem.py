"""A problem to report to whoever asked, and the one shape that errors have: that of the gateway's data plane."""

import json
from dataclasses import dataclass, field

from pydantic import BaseModel

INVALID_REQUEST = "invalid_request_error"


@dataclass(eq=False)
class Problem(Exception):
    """An HTTP status and what goes into the error object. `message` and `param` never hold what was sent.

    Not frozen: context managers on its way up set its traceback.
    """

    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class ErrorDetails(BaseModel):
    """What is particular to this gateway."""

    request_id: str


class ErrorObject(BaseModel):
    """What went wrong: `message` for people, `code` for programs, `param` the field at fault where there is one."""

    message: str
    type: str
    param: str | None
    code: str
    keyferry: ErrorDetails


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorObject


def error_body(problem: Problem, request_id: str) -> bytes:
    """`problem` as the body of a response (`ErrorBody`), in JSON."""
    error = {
        "message": problem.message,
        "type": problem.type,
        "param": problem.param,
        "code": problem.code,
        "keyferry": {"request_id": request_id},
    }
    return json.dumps({"error": error}).encode()


def not_found(what: str) -> Problem:
    """404 for a thing that is not there; `what` names its kind, never the name that was asked for."""
    return Problem(404, INVALID_REQUEST, "not_found", what)
