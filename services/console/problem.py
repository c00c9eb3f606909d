"""The body of an error response, in the same shape as the gateway's data plane. Pure."""

from pydantic import BaseModel

from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem


class ErrorDetails(BaseModel):
    """The fields that Keyferry adds."""

    request_id: str


class ErrorObject(BaseModel):
    """What went wrong: `message` for people, `code` for programs, `param` the invalid field, if there is one."""

    message: str
    type: str
    param: str | None
    code: str
    keyferry: ErrorDetails


class ErrorBody(BaseModel):
    """The body of every error response (`render_error` of the runtime)."""

    error: ErrorObject


def not_found(message: str) -> HttpProblem:
    """Return a 404. `message` names the kind of thing, never the name that was requested."""
    return HttpProblem(404, INVALID_REQUEST, "not_found", message)


def internal_error() -> HttpProblem:
    """Return a 500 that reveals nothing of the defect."""
    message = "the console failed; its log has the details under this request id"
    return HttpProblem(500, "api_error", "internal_error", message)
