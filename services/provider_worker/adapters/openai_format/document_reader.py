"""Collects a body that is read when it has ended: a whole answer, or an error."""

from collections.abc import Callable

from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.response.body import MAX_ANSWER_BYTES, CollectingReader
from services.provider_worker.adapters.response.unusable import TOO_LARGE, unusable


class DocumentReader(CollectingReader):
    """Has `read` read a body of at most `max_bytes`. What is longer is too large as an answer, and cut as an error."""

    def __init__(self, read: Callable[[bytes], Answer], max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._read = read
        self._is_answer = max_bytes == MAX_ANSWER_BYTES
        super().__init__(max_bytes)

    def close(self) -> Answer:
        """What the document says."""
        if self._body.too_large and self._is_answer:
            return Answer(failure=unusable(TOO_LARGE))
        return self._read(self._body.content)
