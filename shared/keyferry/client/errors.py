"""What a call can raise: one class for each way in which a request can fail, all of them `KeyferryError`."""

from collections.abc import Mapping
from types import MappingProxyType

from keyferry.client.results import Route
from keyferry.contracts.failure import Failure, FailureClass

C = FailureClass


class KeyferryError(Exception):
    """A request without a whole answer. Its text says what happened; `failure` is the same for programs."""

    def __init__(
        self,
        failure: Failure,
        *,
        request_id: str | None = None,
        decision_id: str | None = None,
        route: Route | None = None,
    ) -> None:
        super().__init__(f"{failure.message} ({request_id})" if request_id else failure.message)
        self.failure = failure
        self.request_id = request_id
        """For `keyferry explain`; null where nothing was sent."""
        self.decision_id = decision_id
        self.route = route
        """Which way the last attempt went, where one was made."""

    @property
    def retry_after_seconds(self) -> float | None:
        """When it may be worth another try, where the provider or the gateway said so."""
        delay_ms = self.failure.retry_after_ms
        return None if delay_ms is None else delay_ms / 1000


class ProviderKeyRefused(KeyferryError):
    """The provider does not accept the tenant's provider key."""


class QuotaExhausted(KeyferryError):
    """The provider account behind the key has no money or allowance left."""


class RateLimited(KeyferryError):
    """Too many requests, for the provider."""


class LimitReached(RateLimited):
    """Too many requests, for a limit of the gateway."""


class Overloaded(KeyferryError):
    """The provider has more work than it can do."""


class ContextTooLong(KeyferryError):
    """Messages and answer do not fit the model's context."""


class ContentFiltered(KeyferryError):
    """The provider will not answer this."""


class ModelNotFound(KeyferryError):
    """The model is not offered to this tenant, or not known to the provider."""


class BadRequest(KeyferryError):
    """The request itself is wrong; `failure.param` names the parameter where that is known."""


class TimedOut(KeyferryError):
    """The deadline passed, or the provider took too long."""


class ProviderFailed(KeyferryError):
    """The provider failed."""


class Truncated(KeyferryError):
    """The answer stopped before it was whole."""


class Unreachable(KeyferryError):
    """No connection to the provider: it was never asked."""


class NotAllowed(KeyferryError):
    """A rule of the tenant forbids it."""


class Unavailable(KeyferryError):
    """The gateway has nobody to do the work just now."""


class CannotConnect(Unavailable):
    """There is no way onto the bus: no server, or one that does not let this client in."""


class Cancelled(KeyferryError):
    """The request was given up on this side."""


class Indeterminate(KeyferryError):
    """Nobody knows whether the provider did the work, and it may have charged for it: repeating it may pay twice."""


class Internal(KeyferryError):
    """A defect of the gateway, or of this client."""


ERRORS: Mapping[FailureClass, type[KeyferryError]] = MappingProxyType(
    {
        C.AUTH: ProviderKeyRefused,
        C.QUOTA: QuotaExhausted,
        C.RATE_LIMIT: RateLimited,
        C.OVERLOADED: Overloaded,
        C.CONTEXT_LENGTH: ContextTooLong,
        C.CONTENT_FILTER: ContentFiltered,
        C.NOT_FOUND: ModelNotFound,
        C.BAD_REQUEST: BadRequest,
        C.TIMEOUT: TimedOut,
        C.SERVER: ProviderFailed,
        C.TRUNCATED: Truncated,
        C.UNREACHABLE: Unreachable,
        C.POLICY: NotAllowed,
        C.LIMIT: LimitReached,
        C.UNAVAILABLE: Unavailable,
        # The worker's clock and the caller's run out at almost the same time: who is first is chance.
        C.EXPIRED: TimedOut,
        C.CANCELLED: Cancelled,
        C.INDETERMINATE: Indeterminate,
        C.INTERNAL: Internal,
    }
)
"""The class of every failure."""


def build_error(
    failure: Failure, *, request_id: str | None = None, decision_id: str | None = None, route: Route | None = None
) -> KeyferryError:
    """The error to raise for a failure."""
    kind = ERRORS[failure.failure_class]
    return kind(failure, request_id=request_id, decision_id=decision_id, route=route)
