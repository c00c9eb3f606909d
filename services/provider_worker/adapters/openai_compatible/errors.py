"""Errors of OpenAI-compatible providers: responses with a failed status, and errors under status 200."""

from collections.abc import Mapping

from keyferry.contracts.failure import Failure, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.response.body import MAX_ERROR_BYTES, BufferingReader
from services.provider_worker.adapters.response.errors import (
    NOT_A_STREAM,
    failure_of_error,
    failure_of_response,
    find_error,
    invalid_response,
)
from services.provider_worker.adapters.response.json_text import (
    parse_first_object,
)


class ErrorReader(BufferingReader):
    """Reads a response whose status is not 2xx."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        self._headers = headers
        super().__init__(MAX_ERROR_BYTES)

    def close(self) -> Answer:
        """Return the failure."""
        return Answer(failure=failure_of_response(self._status, self._headers, self._body.content))


def failure_in_body(content: bytes, headers: Mapping[str, str]) -> Failure | None:
    """Return the failure that the document `content`, or the first of a list, reports under status 200; null for none."""
    document = parse_first_object(content)
    error = None if document is None else find_error(document)
    return None if error is None else failure_of_error(error, Where.HTTP_200_BODY, headers)


def failure_of_unstreamed_body(content: bytes, headers: Mapping[str, str]) -> Failure:
    """Return the failure of a document received in place of an event stream, under status 200."""
    return failure_in_body(content, headers) or invalid_response(NOT_A_STREAM)
