"""Reads a body as it is, up to a limit. Pure."""

from keyferry.contracts.failure import FailureClass, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.failures import plain_failure
from services.provider_worker.adapters.whole import Collected


class BodyReader:
    """Keeps at most `max_bytes`; a longer body is a failure."""

    def __init__(self, max_bytes: int) -> None:
        self._body = Collected(max_bytes)
        self._max_bytes = max_bytes

    @property
    def over(self) -> bool:
        """Whether more has come than is kept."""
        return self._body.too_large

    def feed(self, data: bytes) -> list[bytes]:
        """Keeps `data`; there are no chunks."""
        self._body.add(data)
        return []

    def close(self) -> Answer:
        """The body."""
        if self._body.too_large:
            message = f"The provider's answer is larger than {self._max_bytes} bytes."
            return Answer(failure=plain_failure(FailureClass.SERVER, message, Where.HTTP_200_BODY))
        return Answer(body=self._body.content)
