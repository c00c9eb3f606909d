"""The errors of calls: one class for each failure class, all derived from `KeyferryError`."""

from collections.abc import Mapping
from types import MappingProxyType

from keyferry.client.results import Route
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.limits import RateLimits
from keyferry.contracts.route import DecisionSummary

C = FailureClass


class KeyferryError(Exception):
    """A request failed to get a whole answer. The text says what happened; `failure` is the same for programs."""

    def __init__(
        self,
        failure: Failure,
        *,
        request_id: str | None = None,
        decision_id: str | None = None,
        route: Route | None = None,
        rate_limits: RateLimits | None = None,
        decision: DecisionSummary | None = None,
    ) -> None:
        super().__init__(f"{failure.message} ({request_id})" if request_id else failure.message)
        self.failure = failure
        self.request_id = request_id
        """The id for `keyferry explain`; None if nothing was sent."""
        self.decision_id = decision_id
        self.route = route
        """The route of the last attempt, if one was made."""
        self.rate_limits = rate_limits or (route.rate_limits if route else None)
        """What is left of the tenant's limits; None where it has none."""
        self.decision = decision or (route.decision if route else None)
        """What was considered and why, where the request asked for it (`RoutingOptions.explain`)."""

    @property
    def retry_after_seconds(self) -> float | None:
        """The delay before a retry, if the provider or the gateway named one."""
        delay_ms = self.failure.retry_after_ms
        return None if delay_ms is None else delay_ms / 1000


class ProviderKeyRefused(KeyferryError):
    """The provider does not accept the provider key."""


class QuotaExhausted(KeyferryError):
    """The provider account of the key has no credit or quota left."""


class RateLimited(KeyferryError):
    """The provider's rate limit is exceeded."""


class LimitReached(RateLimited):
    """A rate limit of the gateway is exceeded."""


class Overloaded(KeyferryError):
    """The provider is overloaded."""


class ContextTooLong(KeyferryError):
    """Messages and answer exceed the model's context window."""


class ContentFiltered(KeyferryError):
    """The provider refused the content."""


class ModelNotFound(KeyferryError):
    """The model is not available to this tenant, or unknown to the provider."""


class BadRequest(KeyferryError):
    """The request is invalid; `failure.param` names the parameter, if it is known."""


class TimedOut(KeyferryError):
    """The deadline passed, or the provider took too long."""


class ProviderFailed(KeyferryError):
    """The provider failed."""


class Truncated(KeyferryError):
    """The answer ended before it was complete."""


class Unreachable(KeyferryError):
    """The provider could not be reached; no request was sent to it."""


class NotAllowed(KeyferryError):
    """A policy of the tenant forbids the request."""


class CreditExhausted(KeyferryError):
    """The tenant's credits do not cover the request."""


class BudgetExceeded(KeyferryError):
    """A budget with a hard cap does not cover the request."""


class Unavailable(KeyferryError):
    """The gateway cannot process the request now."""


class CannotConnect(Unavailable):
    """The bus cannot be reached, or rejects this client."""


class Cancelled(KeyferryError):
    """The client gave up the request."""


class Indeterminate(KeyferryError):
    """It is unknown whether the provider did the work; it may have charged, so a retry may pay twice."""


class Internal(KeyferryError):
    """A bug in the gateway or in this client."""


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
        C.CREDIT: CreditExhausted,
        C.BUDGET: BudgetExceeded,
        C.UNAVAILABLE: Unavailable,
        # The deadlines of worker and client end at almost the same time: which is reported is chance.
        C.EXPIRED: TimedOut,
        C.CANCELLED: Cancelled,
        C.INDETERMINATE: Indeterminate,
        C.INTERNAL: Internal,
    }
)
"""Maps each failure class to its error."""


def build_error(
    failure: Failure,
    *,
    request_id: str | None = None,
    decision_id: str | None = None,
    route: Route | None = None,
    rate_limits: RateLimits | None = None,
    decision: DecisionSummary | None = None,
) -> KeyferryError:
    """Return the error for a failure."""
    kind = ERRORS[failure.failure_class]
    return kind(
        failure,
        request_id=request_id,
        decision_id=decision_id,
        route=route,
        rate_limits=rate_limits,
        decision=decision,
    )
