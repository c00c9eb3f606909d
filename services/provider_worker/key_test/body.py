"""Reads a body as it is, up to a limit. Pure."""

from keyferry.contracts.failure import FailureClass, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.response.body import CollectingReader
from services.provider_worker.adapters.response.errors import plain_failure


class BodyReader(CollectingReader):
    """Keeps at most `max_bytes`; a longer body is a failure."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._max_bytes = max_bytes

    def close(self) -> Answer:
        """The body."""
        if self._body.too_large:
            message = f"The provider's answer is larger than {self._max_bytes} bytes."
            return Answer(failure=plain_failure(FailureClass.SERVER, message, Where.HTTP_200_BODY))
        return Answer(body=self._body.content)
