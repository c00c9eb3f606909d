"""Reads answers that come as one document: plain JSON completions, and errors under any status."""

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
    parse_object,
)

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Largest answer that is kept in memory; base64 images and audio fit."""

MAX_ERROR_BYTES = 64 * 1024
"""What is read of an error body; an explanation is not longer."""


class BodyBuffer:
    """The bytes of a body, up to a limit."""

    def __init__(self, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self.too_large = False
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, data: bytes) -> None:
        """Adds `data`, or what of it still fits."""
        if self.too_large:
            return
        self._pieces.append(data[: self._max_bytes - self._bytes])
        self._bytes += len(data)
        self.too_large = self._bytes > self._max_bytes

    @property
    def content(self) -> bytes:
        """What was kept."""
        return b"".join(self._pieces)


class BufferingReader:
    """What every reader of a body that is read at its end begins with: `_body` keeps up to `max_bytes` of it."""

    def __init__(self, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._body = BodyBuffer(max_bytes)

    @property
    def over(self) -> bool:
        """Whether more has come than is kept."""
        return self._body.too_large

    def feed(self, data: bytes) -> list[bytes]:
        """Keeps `data`; a body that is read at its end has no chunks."""
        self._body.add(data)
        return []


class ObjectReader(BufferingReader, ABC):
    """What every reader of an answer that is one JSON object begins with. White space around it is no part of it."""

    def close(self) -> Answer:
        """What the object says, or why there is none."""
        if self._body.too_large:
            return Answer(failure=invalid_response(RESPONSE_TOO_LARGE))
        content = self._body.content.strip()
        document = parse_object(content)
        return Answer(failure=self._no_object(content)) if document is None else self._read(document, content)

    @abstractmethod
    def _read(self, document: JsonObject, content: bytes) -> Answer:
        """What `document`, whose text is `content`, says."""

    def _no_object(self, content: bytes) -> Failure:
        """Why `content` is no answer."""
        return failure_of_invalid_body(content)


class DocumentReader(BufferingReader):
    """Has `read` read a body of at most `max_bytes`. What is longer is too large as an answer, and cut as an error."""

    def __init__(self, read: Callable[[bytes], Answer], max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._read = read
        self._is_answer = max_bytes == MAX_ANSWER_BYTES
        super().__init__(max_bytes)

    def close(self) -> Answer:
        """What the document says."""
        if self._body.too_large and self._is_answer:
            return Answer(failure=invalid_response(RESPONSE_TOO_LARGE))
        return self._read(self._body.content)
