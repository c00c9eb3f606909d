"""Idempotency keys: a repeated request gets the first answer, another request with the same key an error."""

from dataclasses import dataclass, field

from deploy.billing_demo.stripe.problem import StripeApiError

_MAX_KEY = 255
_KEPT_SECONDS = 86_400


@dataclass(slots=True)
class SavedAnswer:
    """What the first request with a key was, and its answer once there is one."""

    method: str
    path: str
    body: str
    at: int
    status: int = 0
    answer: bytes = b""
    request_id: str = ""


@dataclass
class IdempotencyKeys:
    """The answers to requests with a key; a key is forgotten after a day."""

    saved: dict[str, SavedAnswer] = field(default_factory=dict)

    def begin(self, key: str, method: str, path: str, body: str, now: int) -> SavedAnswer | None:
        """Return the saved answer, or None after keeping the request as begun. Raises StripeApiError."""
        if len(key) > _MAX_KEY:
            raise StripeApiError(
                f"Idempotency keys must be at most {_MAX_KEY} characters.", error_type="idempotency_error"
            )
        found = self.saved.get(key)
        if found is not None and found.at + _KEPT_SECONDS < now:
            found = None
        if found is None:
            self.saved[key] = SavedAnswer(method, path, body, now)
            return None
        if (found.method, found.path) != (method, path):
            raise StripeApiError(
                f"Keys for idempotent requests can only be used for the same endpoint they were first used for ('{found.path}'"
                f" vs '{path}'). Try using a key other than '{key}' if you meant to execute a different request.",
                error_type="idempotency_error",
            )
        if found.body != body:
            raise StripeApiError(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a"
                f" key other than '{key}' if you meant to execute a different request.",
                error_type="idempotency_error",
            )
        if not found.status:
            raise StripeApiError(
                "There is currently another in-progress request using this Idempotent Key (that probably means you submitted"
                f" twice, and the other request is still going through): {key}. Please try again later.",
                status=409,
                error_type="idempotency_error",
                code="idempotency_key_in_use",
            )
        return found

    def finish(self, key: str, status: int, answer: bytes, request_id: str) -> None:
        """Save the answer to the first request with a key."""
        entry = self.saved[key]
        entry.status, entry.answer, entry.request_id = status, answer, request_id

    def forget(self, key: str) -> None:
        """Forget a key whose request never began: its parameters were invalid, or the service refused it."""
        self.saved.pop(key, None)
