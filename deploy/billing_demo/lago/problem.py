"""Errors in the form of Lago's API. Pure."""

from typing import Any

JsonObject = dict[str, Any]


class LagoApiProblem(Exception):
    """An error that the API answers with: HTTP status, code and details."""

    def __init__(self, status: int, error: str, code: str = "", details: JsonObject | None = None) -> None:
        super().__init__(code or error)
        self.status = status
        self._body: JsonObject = {"status": status, "error": error}
        if code:
            self._body["code"] = code
        if details is not None:
            self._body["error_details"] = details

    def to_json(self) -> JsonObject:
        """Return the body of the answer."""
        return self._body


def not_found(name: str) -> LagoApiProblem:
    """Return the error for an object that there is not, such as `customer`."""
    return LagoApiProblem(404, "Not Found", f"{name}_not_found")


def invalid(details: JsonObject) -> LagoApiProblem:
    """Return the error for values that cannot be taken: the codes of what is wrong, by field or by position."""
    return LagoApiProblem(422, "Unprocessable Entity", "validation_errors", details)


def not_allowed(code: str) -> LagoApiProblem:
    """Return the error for an object whose state does not permit the request."""
    return LagoApiProblem(405, "Method Not Allowed", code)
