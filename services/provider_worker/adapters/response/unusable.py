"""Answers that nothing can be made of, in the same words whoever the provider is."""

from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.response.errors import plain_failure

TOO_LARGE = "The provider's answer is larger than the gateway reads (32 MiB)."
TOO_DEEP = "The provider's answer is nested too deeply."
SILENT = "The provider ended its answer without having said anything."
NO_STREAM = "The provider answered a streaming request with something that is not an event stream."
STOPPED = "The provider's answer stopped before it was complete."
STOPPED_IN_A_PIECE = "The provider's answer stopped in the middle of a piece."
PIECE_TOO_LARGE = "The provider sent a piece of its answer that is larger than 1 MiB."
PIECE_TOO_DEEP = "The provider sent a piece of its answer that is nested too deeply."
PIECE_NO_OBJECT = "The provider sent a piece of its answer that is not a JSON object."


def unusable(message: str) -> Failure:
    """The failure of an answer under status 200 with which `message` is wrong; another provider may do better."""
    return plain_failure(FailureClass.SERVER, message, Where.HTTP_200_BODY)


def stopped() -> Failure:
    """The failure of a stream that has ended without its end."""
    return plain_failure(FailureClass.TRUNCATED, STOPPED, Where.MID_STREAM)


def no_object(content: bytes) -> Failure:
    """Why a body under status 200 that is no JSON object is no answer."""
    content = content.strip()
    if content[:1] == b"{":
        return plain_failure(FailureClass.TRUNCATED, STOPPED, Where.HTTP_200_BODY)
    if not content:
        return unusable("The provider answered with status 200 and nothing else.")
    return unusable("The provider's answer is not a JSON object; check that the base URL is that of its API.")
