"""Reads response bodies that are interpreted at their end: non-streamed answers, and errors under any status."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from keyferry.contracts.failure import Failure
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.response.errors import (
    RESPONSE_TOO_LARGE,
    failure_of_invalid_body,
    invalid_response,
)
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    parse_leading_object,
)

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Largest answer that is kept in memory; base64 images and audio fit."""

MAX_ERROR_BYTES = 64 * 1024
"""How much of an error body is read; explanations are shorter."""


class BodyBuffer:
    """The bytes of a body, up to a limit."""

    def __init__(self, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self.too_large = False
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, data: bytes) -> None:
        """Append `data`, or as much of it as fits."""
        if self.too_large:
            return
        self._pieces.append(data[: self._max_bytes - self._bytes])
        self._bytes += len(data)
        self.too_large = self._bytes > self._max_bytes

    @property
    def content(self) -> bytes:
        """The bytes that were kept."""
        return b"".join(self._pieces)


class BufferingReader:
    """Base of the readers that interpret a body at its end: `_body` keeps up to `max_bytes` of it."""

    def __init__(self, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._body = BodyBuffer(max_bytes)

    @property
    def over(self) -> bool:
        """Whether more has arrived than is kept."""
        return self._body.too_large

    def feed(self, data: bytes) -> list[bytes]:
        """Keep `data`; a body that is read at its end has no chunks."""
        self._body.add(data)
        return []


class ObjectReader(BufferingReader, ABC):
    """Base of the readers of an answer that is one JSON object. What is around it is ignored."""

    def close(self) -> Answer:
        """Return the result of the object, or why there is none."""
        if self._body.too_large:
            return Answer(failure=invalid_response(RESPONSE_TOO_LARGE))
        content = self._body.content.strip()
        document = parse_leading_object(content)
        return Answer(failure=self._no_object(content)) if document is None else self._read(document, content)

    @abstractmethod
    def _read(self, document: JsonObject, content: bytes) -> Answer:
        """Interpret `document`, whose text is `content`."""

    def _no_object(self, content: bytes) -> Failure:
        """Explain why `content` is not an answer."""
        return failure_of_invalid_body(content)


class DocumentReader(BufferingReader):
    """Passes a body of at most `max_bytes` to `read`. A longer one is too large as an answer, and cut as an error."""

    def __init__(self, read: Callable[[bytes], Answer], max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._read = read
        self._is_answer = max_bytes == MAX_ANSWER_BYTES
        super().__init__(max_bytes)

    def close(self) -> Answer:
        """Return what `read` makes of the body."""
        if self._body.too_large and self._is_answer:
            return Answer(failure=invalid_response(RESPONSE_TOO_LARGE))
        return self._read(self._body.content)
