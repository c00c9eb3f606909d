"""How an attempt ended, derived from the error that ended it and the phase it had reached. Pure."""

from dataclasses import dataclass, replace

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.usage import KeySource, Outcome
from keyferry.runtime.upstream.errors import NoResponse, NotSent, UpstreamError
from services.provider_worker.adapters.adapter import Answer, RefusedByAdapter
from services.provider_worker.provider_call import Phase


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """The outcome of an attempt. `no_key` says that it failed because its key could not be leased."""

    outcome: Outcome
    failure: Failure | None = None
    no_key: bool = False


def failure(failure_class: FailureClass, message: str, where: Where) -> Failure:
    """Return a failure of these three."""
    return Failure(failure_class=failure_class, message=message, where=where)


def unavailable(message: str) -> Failure:
    """Return the failure of a gateway that cannot serve the request now."""
    return failure(FailureClass.UNAVAILABLE, message, Where.GATEWAY)


def end_of_answer(answer: Answer) -> AttemptEnd:
    """Return the end of an attempt whose call returned."""
    if answer.failure is None:
        return AttemptEnd(Outcome.COMPLETED)
    return AttemptEnd(Outcome.FAILED, _place(answer.failure, answer))


def _place(problem: Failure, answer: Answer) -> Failure:
    """Return a failure inside a 200 as one in the middle of the answer if the provider counts output: it may charge for that."""
    if problem.where is not Where.HTTP_200_BODY or not (answer.token_usage.completion or answer.reported_cost_usd):
        return problem
    return problem.model_copy(update={"where": Where.MID_STREAM})


def end_of_stale_start() -> AttemptEnd:
    """Return the end of an attempt whose worker was frozen between accepting it and calling the provider."""
    message = "the worker was frozen for too long and called no provider; try again"
    return AttemptEnd(Outcome.FAILED, failure(FailureClass.UNAVAILABLE, message, Where.NOT_SENT))


def end_of_unconfirmed_start() -> AttemptEnd:
    """Return the end of an attempt whose caller has not confirmed its acceptance in time."""
    message = "the gateway did not confirm in time that this attempt counts, and no provider was called; try again"
    return AttemptEnd(Outcome.FAILED, failure(FailureClass.UNAVAILABLE, message, Where.NOT_SENT))


def end_of_cancellation(phase: Phase, *, by_caller: bool) -> AttemptEnd:
    """Return the end of an attempt that was cancelled by its caller, or because the worker stops."""
    where = {Phase.STREAMING: Where.MID_STREAM, Phase.SENDING: Where.NO_ANSWER}.get(phase, Where.NOT_SENT)
    if not by_caller:
        message = "the worker stopped before the answer was whole"
        return AttemptEnd(Outcome.FAILED, failure(FailureClass.UNAVAILABLE, message, where))
    return AttemptEnd(Outcome.CANCELLED, failure(FailureClass.CANCELLED, "the caller went away", where))


def end_of_deadline(phase: Phase) -> AttemptEnd:
    """Return the end of an attempt that ran out of time: the provider's failure only where the provider was called.

    Before the lease, that is a timeout of the bus while the attempt was accepted; the vault was not asked yet.
    """
    if phase < Phase.SENDING:
        waited_for = "the key vault had answered" if phase is Phase.LEASING else "the bus had delivered the acceptance"
        message = f"the request's time ran out before {waited_for}; nothing was sent"
        return AttemptEnd(Outcome.FAILED, failure(FailureClass.EXPIRED, message, Where.NOT_SENT))
    message = "the request's deadline passed before the provider had answered"
    return AttemptEnd(Outcome.FAILED, failure(FailureClass.TIMEOUT, message, Where.NO_ANSWER))


def end_of_share(phase: Phase) -> AttemptEnd:
    """Return the end of an attempt that did not begin to answer in the part of the time that other candidates leave it."""
    if phase < Phase.SENDING:
        message = "nothing was sent: the key vault did not answer while there was time for another candidate"
        return AttemptEnd(Outcome.FAILED, failure(FailureClass.UNAVAILABLE, message, Where.NOT_SENT), no_key=True)
    message = "the provider did not begin to answer while there was time for another candidate"
    return AttemptEnd(Outcome.FAILED, failure(FailureClass.TIMEOUT, message, Where.NO_ANSWER))


def end_of_error(error: RefusedByAdapter | UpstreamError, answer: Answer) -> AttemptEnd:
    """Return the end of an attempt whose call failed.

    What the provider itself reported before its answer broke off counts more than that it broke off.
    """
    if isinstance(error, RefusedByAdapter):
        return AttemptEnd(Outcome.FAILED, error.failure)
    if isinstance(error, NotSent):
        return AttemptEnd(Outcome.FAILED, failure(FailureClass.UNREACHABLE, str(error), Where.NOT_SENT))
    if isinstance(error, NoResponse):
        kind = FailureClass.TIMEOUT if error.timed_out else FailureClass.SERVER
        return AttemptEnd(Outcome.FAILED, failure(kind, str(error), Where.NO_ANSWER))
    truncated = failure(FailureClass.TRUNCATED, str(error), Where.MID_STREAM)
    return AttemptEnd(Outcome.FAILED, truncated if answer.failure is None else _place(answer.failure, answer))


def name_provider(end: AttemptEnd, run: AttemptRun) -> AttemptEnd:
    """Return the end with a message that says whose key or limit it is about, where a caller could take it for its own.

    "Incorrect API key provided", passed on alone, reads as if the caller's client token were wrong.
    """
    problem = end.failure
    if problem is None or problem.where in (Where.GATEWAY, Where.NOT_SENT):
        return end
    key = f"provider key {run.key_id}" if run.key_source is KeySource.BYOK else "provider key"
    name = run.endpoint or (PROVIDERS[run.provider].title if run.provider in PROVIDERS else run.provider)
    if problem.failure_class is FailureClass.AUTH and run.key_id is None:
        prefix = f"{name} wants a key and was called without one; the client token is fine"
    elif problem.failure_class is FailureClass.AUTH:
        prefix = f"{name} does not accept the {key} that was used; the client token is fine"
    elif problem.failure_class is FailureClass.QUOTA:
        prefix = f"the account of the {key} at {name} has no quota left"
    elif problem.failure_class is FailureClass.RATE_LIMIT:
        prefix = f"{name} limits the rate of requests"
    else:
        return end
    return replace(end, failure=problem.model_copy(update={"message": f"{prefix}: {problem.message}"}))
