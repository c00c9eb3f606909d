"""What may follow a failed attempt, by class of failure: the one table that workers and routers act on.

Nothing follows once a part of the answer was delivered: another answer would continue a sentence that it did not begin. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from keyferry.contracts.envelope import Message
from keyferry.contracts.failure import Failure, FailureClass, Where

MAX_RETRIES = 2
"""Most retries of one candidate within a request."""
MAX_DUPLICATES = 1
"""How many attempts that may have been charged are followed by another: a caller pays for two answers at most."""


class FallbackAction(StrEnum):
    """What may be tried after a failed attempt."""

    RETRY = "retry"
    """The same candidate again, after a delay."""
    NEXT_KEY = "next_key"
    """Another key of the same provider, before any other provider."""
    NEXT_PROVIDER = "next_provider"
    """The same model at another provider, endpoint or region."""
    LONGER_CONTEXT = "longer_context"
    """A model with a longer context window than the one that failed, and no other."""
    NEXT_MODEL = "next_model"
    """The next model of the plan, where a rule, a preference or a virtual model names more than one."""
    STOP = "stop"
    """The failure is the answer."""


class UseCase(StrEnum):
    """What a chain of models is for: which model stands in for which."""

    GENERAL = "general"
    CODE = "code"
    CHAT = "chat"
    LONG_CONTEXT = "long-context"
    PREMIUM = "premium"
    BUDGET = "budget"
    PRIVACY = "privacy"
    """Only offerings inside the European Union."""


Actions = tuple[FallbackAction, ...]
FallbackReason = Literal["unhealthy"] | FailureClass
"""Why a request is not answered by its first choice: the failure of an attempt, or a target that was skipped."""


@dataclass(frozen=True, slots=True)
class FallbackRule:
    """What may follow failures of one class."""

    not_charged: Actions
    """Where the provider refused the request, or never got it."""
    maybe_charged: Actions
    """Where the provider may have worked on it: it was sent, and no answer or only a part of one came back."""


_RETRY, _KEY, _PROVIDER = FallbackAction.RETRY, FallbackAction.NEXT_KEY, FallbackAction.NEXT_PROVIDER
_MODEL, _LONGER = FallbackAction.NEXT_MODEL, FallbackAction.LONGER_CONTEXT
_STOP = FallbackRule((FallbackAction.STOP,), (FallbackAction.STOP,))
_OF_THE_KEY = FallbackRule((_KEY, _PROVIDER, _MODEL), (_PROVIDER, _MODEL))
_TRANSIENT = FallbackRule((_PROVIDER, _RETRY, _MODEL), (_PROVIDER, _MODEL))
_ELSEWHERE = FallbackRule((_PROVIDER, _MODEL), (_PROVIDER, _MODEL))
_C = FailureClass

FALLBACKS: Mapping[FailureClass, FallbackRule] = {
    _C.AUTH: _OF_THE_KEY,
    _C.QUOTA: _OF_THE_KEY,
    _C.RATE_LIMIT: FallbackRule((_KEY, _PROVIDER, _RETRY, _MODEL), (_PROVIDER, _MODEL)),
    _C.OVERLOADED: _TRANSIENT,
    _C.CONTEXT_LENGTH: FallbackRule((_LONGER,), (_LONGER,)),
    _C.CONTENT_FILTER: _ELSEWHERE,
    _C.NOT_FOUND: _OF_THE_KEY,
    _C.BAD_REQUEST: _STOP,
    _C.TIMEOUT: _TRANSIENT,
    _C.SERVER: _TRANSIENT,
    _C.TRUNCATED: _ELSEWHERE,
    _C.UNREACHABLE: _TRANSIENT,
    _C.POLICY: _STOP,
    _C.LIMIT: _STOP,
    _C.CREDIT: _STOP,
    _C.BUDGET: _STOP,
    _C.UNAVAILABLE: _STOP,
    _C.EXPIRED: _STOP,
    _C.CANCELLED: _STOP,
    _C.INDETERMINATE: _STOP,
    _C.INTERNAL: _ELSEWHERE,
}
"""Lists every class, so that a new one needs a decision. The order of the actions is the order in which they are tried."""

WITHOUT_KEY = FallbackRule((_KEY, _PROVIDER, _MODEL), (FallbackAction.STOP,))
"""The rule for an attempt whose key could not be leased: the provider was not called, whatever the failure's class."""

BUSY_WORKER = FallbackRule((_PROVIDER, _MODEL), (FallbackAction.STOP,))
"""The rule for an attempt that a worker had no place for: asking the same worker again would make its queue longer."""


class FallbackPolicy(Message):
    """What a tenant allows beyond the table."""

    after_content_filter: bool = False
    """Whether a request that a content filter rejected is sent to another provider."""
    after_possible_charge: bool = True
    """Whether an attempt that may have been charged is followed by another, so that two answers may have to be paid."""
    longer_models: bool = False
    """Whether a request that is too long for its models may be answered by one of the chain `long-context`."""


DEFAULT_FALLBACK_POLICY = FallbackPolicy()


def may_be_charged(failure: Failure) -> bool:
    """Return whether the provider may have charged for an attempt that failed so."""
    if failure.where is Where.NOT_SENT:
        return False
    match failure.failure_class:
        case FailureClass.TIMEOUT | FailureClass.TRUNCATED | FailureClass.INDETERMINATE | FailureClass.INTERNAL:
            return True
        case FailureClass.CONTENT_FILTER:
            return failure.where is not Where.HTTP_STATUS
        case FailureClass.SERVER if failure.where is Where.HTTP_200_BODY:
            return failure.status is None  # an answer that cannot be used; with a status, the provider reports an error
        case _:
            return failure.where in (Where.NO_ANSWER, Where.MID_STREAM)


def mark_earlier_charge(failure: Failure, earlier: Iterable[Failure]) -> Failure:
    """Return the failure that ends a request as its caller gets it: marked if an attempt before it may have been charged."""
    if may_be_charged(failure) or not any(map(may_be_charged, earlier)):
        return failure
    return failure.model_copy(update={"charged_earlier": True})


def actions_after(
    failure: Failure, *, earlier: Sequence[Failure] = (), policy: FallbackPolicy, no_key: bool = False
) -> Actions:
    """Return what may be tried after a failed attempt, in this order; never empty, and STOP only alone.

    `earlier` are the failures of the request's attempts before it. `no_key` says that its key could not be leased.
    """
    if no_key:
        return WITHOUT_KEY.not_charged
    if failure.failure_class is FailureClass.OVERLOADED and failure.where is Where.GATEWAY:
        return BUSY_WORKER.not_charged
    rule = FALLBACKS[failure.failure_class]
    if failure.failure_class is FailureClass.CONTENT_FILTER and not policy.after_content_filter:
        return _STOP.not_charged
    if not may_be_charged(failure):
        return rule.not_charged
    duplicates = sum(may_be_charged(each) for each in earlier)
    if not policy.after_possible_charge or duplicates >= MAX_DUPLICATES:
        return _STOP.maybe_charged
    return rule.maybe_charged


def is_final(actions: Actions) -> bool:
    """Return whether nothing may follow."""
    return actions == _STOP.not_charged
