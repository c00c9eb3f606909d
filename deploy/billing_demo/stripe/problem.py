"""Errors in the form of Stripe's API. Pure."""

from typing import Any

JsonObject = dict[str, Any]

_DOCUMENTS = "https://stripe.com/docs/error-codes/"


class StripeApiError(Exception):
    """An error that the API answers with: HTTP status, type, code, the parameter at fault and what a person reads."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        error_type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.saved = True
        """Whether a repetition with the same idempotency key gets this answer again."""
        self._error = {"message": message, "type": error_type, "code": code, "param": param, **more}

    def to_json(self) -> JsonObject:
        """Return the body of the answer; fields without a value are left out."""
        error = {name: value for name, value in self._error.items() if value is not None}
        if code := self._error["code"]:
            error["doc_url"] = _DOCUMENTS + str(code).replace("_", "-")
        return {"error": error}


def missing_object(label: str, object_id: str, param: str) -> StripeApiError:
    """Return the error for an id of which there is no object."""
    return StripeApiError(f"No such {label}: '{object_id}'", status=404, code="resource_missing", param=param)


def missing_parameter(path: str) -> StripeApiError:
    """Return the error for a parameter that a request needs."""
    return StripeApiError(f"Missing required param: {path}.", code="parameter_missing", param=path)


def invalid_parameter(path: str, message: str, code: str | None = None) -> StripeApiError:
    """Return the error for a value that a parameter cannot have."""
    return StripeApiError(message, code=code, param=path)


def unexpected_state(code: str, message: str, **more: Any) -> StripeApiError:
    """Return the error for an object whose state does not permit the request."""
    return StripeApiError(message, code=code, **more)
