"""Reads the event stream of the Messages API and converts it to OpenAI's chunks.

Source: Anthropic's documentation of streaming. Events and deltas of unknown kinds are ignored, as it asks. A chunk is
sent only once there is some output, so a provider that fails before has delivered nothing.
"""

from dataclasses import replace

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import FailureClass
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.anthropic.events import MessageEvents
from services.provider_worker.adapters.anthropic.response import CompletionReader, failure_of_unstreamed_body
from services.provider_worker.adapters.response.body import MAX_ANSWER_BYTES, BodyBuffer
from services.provider_worker.adapters.response.errors import EVENT_NOT_AN_OBJECT, EVENT_TOO_LARGE, RESPONSE_TOO_LARGE
from services.provider_worker.adapters.response.json_text import parse_object
from services.provider_worker.adapters.response.sse import BEFORE_BODY, EventParser
from services.provider_worker.adapters.response.whole_answer import as_stream


class StreamReader:
    """Reads one event stream. `json_tool` is the tool whose arguments are the answer, if there is one."""

    def __init__(self, run: AttemptRun, json_tool: str | None) -> None:
        self._run = run
        self._json_tool = json_tool
        self._parser = EventParser()
        self._events = MessageEvents(run, json_tool)
        self._started = False
        self._bytes = 0
        self._document: BodyBuffer | None = None

    @property
    def over(self) -> bool:
        """Whether `message_stop` has arrived, or an error."""
        return self._events.over or (self._document is not None and self._document.too_large)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the chunks that `data` completes, one JSON text each."""
        if not self._started:
            self._start(data)
        if self._document is not None:
            self._document.add(data)
            return []
        if self.over:
            return []
        self._bytes += len(data)
        for name, event in self._parser.feed(data):
            self._read(name, event)
            if self.over:
                return self._events.take()
        if self._parser.overflow:
            self._events.fail(FailureClass.SERVER, EVENT_TOO_LARGE)
        elif self._bytes > MAX_ANSWER_BYTES:
            self._events.fail(FailureClass.SERVER, RESPONSE_TOO_LARGE)
        return self._events.take()

    def close(self) -> Answer:
        """Return the stream's result. Without a stop reason it is `truncated`."""
        if self._document is not None:
            return self._read_document(self._document.content)
        if not self.over:
            # Complete JSON is an event even without its blank line; anything less is not read.
            for name, event in self._parser.finish():
                if name == b"error" or parse_object(event) is not None:
                    self._read(name, event)
        answer = self._events.answer()
        late = self._events.take()
        return answer if answer.failure is not None else replace(answer, late=tuple(late))

    def _start(self, data: bytes) -> None:
        first = data.lstrip(BEFORE_BODY)[:1]
        if first:
            self._started = True
            if first in b"{[<":
                # No event stream begins like this: it is a document, most likely an error under status 200.
                self._document = BodyBuffer()

    def _read(self, name: bytes, event: bytes) -> None:
        if not event.strip():
            return
        document = parse_object(event)
        if name == b"error":
            self._events.read_error(event.decode("utf-8", "replace") if document is None else document)
        elif document is None:
            self._events.fail(FailureClass.SERVER, EVENT_NOT_AN_OBJECT)
        else:
            self._events.read(document)

    def _read_document(self, content: bytes) -> Answer:
        """Return the result of a document in place of a stream: a whole answer, or an error."""
        whole = CompletionReader(self._run, self._json_tool)
        whole.feed(content)
        answer = whole.close()
        if answer.failure is None:
            return as_stream(answer, include_usage=self._run.include_usage)
        return replace(answer, failure=failure_of_unstreamed_body(content))
