"""Collects a body that is read when it has ended: a whole answer, or an error."""

from collections.abc import Callable

from keyferry.contracts.failure import FailureClass, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.failures import plain_failure
from services.provider_worker.adapters.whole import MAX_ANSWER_BYTES, Collected


class DocumentReader:
    """Has `read` read a body of at most `max_bytes`. What is longer is too large as an answer, and cut as an error."""

    def __init__(self, read: Callable[[bytes], Answer], max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._read = read
        self._is_answer = max_bytes == MAX_ANSWER_BYTES
        self._body = Collected(max_bytes)

    @property
    def over(self) -> bool:
        """Whether more has come than is kept."""
        return self._body.too_large

    def feed(self, data: bytes) -> list[bytes]:
        """Keeps `data`; a document has no chunks."""
        self._body.add(data)
        return []

    def close(self) -> Answer:
        """What the document says."""
        if self._body.too_large and self._is_answer:
            message = "The provider's answer is larger than the gateway reads (32 MiB)."
            return Answer(failure=plain_failure(FailureClass.SERVER, message, Where.HTTP_200_BODY))
        return self._read(self._body.content)
