"""Questions to the services that own things, and their refusals as problems."""

from typing import NoReturn, Protocol, TypeVar

from nats.errors import Error as NatsError

from keyferry.contracts.envelope import Message
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.topology import Subject
from keyferry.runtime.bus.connection import BusError, Refused
from services.console.problem import INVALID_REQUEST, Problem

Answer = TypeVar("Answer", bound=Message)
AnswerT = TypeVar("AnswerT", bound=Message)

USUAL_SECONDS = 5.0
KEY_TEST_SECONDS = 90.0
"""A test calls the provider several times, and another worker where the first is gone."""
WHOLE_AUDIT_SECONDS = 300.0

_KINDS: dict[ErrorCode, tuple[int, str, str, dict[str, str]]] = {
    ErrorCode.INVALID: (422, INVALID_REQUEST, "refused", {}),
    ErrorCode.NOT_FOUND: (404, INVALID_REQUEST, "not_found", {}),
    ErrorCode.CONFLICT: (409, INVALID_REQUEST, "conflict", {"x-should-retry": "false"}),
    ErrorCode.UNAVAILABLE: (503, "overloaded_error", "unavailable", {"retry-after": "1"}),
    ErrorCode.INTERNAL: (500, "api_error", "internal_error", {"x-should-retry": "false"}),
}


class Ask(Protocol):
    """A management request over the bus: `Bus.ask`."""

    async def __call__(
        self, subject: Subject, question: Message, answer: type[AnswerT], *, timeout_seconds: float
    ) -> AnswerT:
        """The owner's answer. Raises Refused, and BusError when nobody answers."""


class Questions:
    """Asks for the routes. Both methods raise Problem."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def read(
        self,
        subject: Subject,
        question: Message,
        answer: type[Answer],
        *,
        timeout_seconds: float = USUAL_SECONDS,
    ) -> Answer:
        """Something that changes nothing, and may be asked again."""
        try:
            return await self._ask(subject, question, answer, timeout_seconds=timeout_seconds)
        except Refused as error:
            _refuse(error.refusal)
        except (BusError, NatsError) as error:
            raise _away(error, "", {"retry-after": "1"}) from None

    async def change(
        self,
        subject: Subject,
        question: Message,
        answer: type[Answer],
        *,
        timeout_seconds: float = USUAL_SECONDS,
    ) -> Answer:
        """Something that may have been done although its answer never comes."""
        try:
            return await self._ask(subject, question, answer, timeout_seconds=timeout_seconds)
        except Refused as error:
            _refuse(error.refusal)
        except (BusError, NatsError) as error:
            unknown = "; look at the list of keys before you ask again, for the change may have been made"
            raise _away(error, unknown, {"x-should-retry": "false"}) from None


def _refuse(refusal: Refusal) -> NoReturn:
    status, kind, code, headers = _KINDS[refusal.code]
    raise Problem(status, kind, code, refusal.message, headers=dict(headers)) from None


def _away(error: BusError | NatsError, then: str, headers: dict[str, str]) -> Problem:
    """What the bus library says of itself is for the log of the bus, and no news for whoever asked."""
    detail = str(error) if isinstance(error, BusError) else "the bus does not answer"
    return Problem(503, "overloaded_error", "unavailable", detail + then, headers=headers)
