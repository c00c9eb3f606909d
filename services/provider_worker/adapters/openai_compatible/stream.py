"""Reads streamed answers of OpenAI-compatible providers."""

from collections.abc import Mapping
from dataclasses import replace

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.openai_compatible.chunks import ChunkRepairer
from services.provider_worker.adapters.openai_compatible.errors import failure_of_unstreamed_body
from services.provider_worker.adapters.openai_compatible.response import CompletionReader
from services.provider_worker.adapters.response.body import BodyBuffer
from services.provider_worker.adapters.response.errors import (
    EMPTY_RESPONSE,
    EVENT_TOO_LARGE,
    TRUNCATED_EVENT,
    invalid_response,
    make_failure,
    truncated_stream,
)
from services.provider_worker.adapters.response.json_text import parse_object
from services.provider_worker.adapters.response.sse import BEFORE_BODY, EventParser
from services.provider_worker.adapters.response.token_usage import report_and_cost
from services.provider_worker.adapters.response.whole_answer import as_stream

_MAX_HELD = 16
"""Chunks without any output that are held back; after that many, all are sent."""


class StreamReader:
    """Reads one event stream.

    Chunks without output (a role, an empty text) are held back until one has some: the first chunk sent is the first
    token, and a provider that fails before has delivered nothing.
    """

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self._run = run
        self._headers = headers
        self._events = EventParser()
        self._repair = ChunkRepairer(run, headers)
        self._started = False
        self._document: BodyBuffer | None = None
        self._held: list[bytes] | None = []
        self._done = False

    @property
    def over(self) -> bool:
        """Whether the provider has sent `[DONE]`, or an error."""
        return (
            self._done or self._repair.failure is not None or (self._document is not None and self._document.too_large)
        )

    def feed(self, data: bytes) -> list[bytes]:
        """Return the chunks that `data` completes, one JSON text each."""
        if not self._started:
            self._start(data)
        if self._document is not None:
            self._document.add(data)
            return []
        if self.over:
            return []
        chunks: list[bytes] = []
        for name, event in self._events.feed(data):
            self._read(name, event, chunks)
            if self.over:
                return chunks
        if self._events.overflow:
            self._fail(FailureClass.SERVER, EVENT_TOO_LARGE)
        return chunks

    def close(self) -> Answer:
        """Return the stream's result. Without a finish reason, or `[DONE]` after some output, it is `truncated`."""
        if self._document is not None:
            return self._read_document(self._document.content)
        late = [] if self.over else self._read_last()
        failure = self._repair.failure or self._missing_end()
        if failure is None:
            late += self._repair.take_rest()
        report, cost = report_and_cost(self._repair.usage.usage())
        return Answer(
            failure=failure,
            finish_reason=self._repair.finish_reason,
            model_served=self._repair.model_served,
            usage=report,
            reported_cost_usd=cost,
            late=() if failure is not None else tuple(late),
        )

    def _read_document(self, content: bytes) -> Answer:
        """Return the result of a document in place of a stream: a whole answer, or an error."""
        whole = CompletionReader(self._run, self._headers)
        whole.feed(content)
        answer = whole.close()
        if answer.failure is None:
            return as_stream(answer, include_usage=self._run.include_usage)
        return replace(answer, failure=failure_of_unstreamed_body(content, self._headers), body=b"", finish_reason=None)

    def _read_last(self) -> list[bytes]:
        """Return the chunks of an event without its blank line: complete JSON is an event, anything less was cut off."""
        late: list[bytes] = []
        for name, event in self._events.finish():
            if name == b"error" or event.startswith(b"[DONE]") or parse_object(event) is not None:
                self._read(name, event, late)
            elif not self._repair.finished:
                self._fail(FailureClass.TRUNCATED, TRUNCATED_EVENT)
        return late

    def _start(self, data: bytes) -> None:
        first = data.lstrip(BEFORE_BODY)[:1]
        if first:
            self._started = True
            if first in b"{[<":
                # No event stream begins like this: it is a document, most likely an error under status 200.
                self._document = BodyBuffer()

    def _read(self, name: bytes, event: bytes, chunks: list[bytes]) -> None:
        if event.startswith(b"[DONE]"):
            self._done = True
            if self._missing_end() is None:
                self._release(chunks)
        elif name == b"error":
            self._repair.read_error(event)
        elif event.strip():
            chunk = self._repair.repair_chunk(event)
            if chunk is not None:
                self._send(chunk, chunks)

    def _send(self, chunk: bytes, chunks: list[bytes]) -> None:
        if self._held is None:
            chunks.append(chunk)
            return
        self._held.append(chunk)
        if self._repair.has_output or self._repair.finished or len(self._held) >= _MAX_HELD:
            self._release(chunks)

    def _release(self, chunks: list[bytes]) -> None:
        chunks.extend(self._held or [])
        self._held = None

    def _fail(self, failure_class: FailureClass, message: str) -> None:
        self._repair.failure = make_failure(failure_class, message, Where.MID_STREAM)

    def _missing_end(self) -> Failure | None:
        if self._repair.finished or (self._done and self._repair.has_output):
            return None
        if self._done:
            return invalid_response(EMPTY_RESPONSE)
        return truncated_stream()
