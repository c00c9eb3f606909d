"""Reads the event stream of Cohere's `v2/chat`.

Source of the events: Cohere's API reference, "Chat", streaming. Content and tool calls are objects, not lists, inside
deltas. `message-end` ends the answer, well or not: it holds the finish reason, the usage, and the error if there is
one.
"""

from collections.abc import Mapping
from dataclasses import replace

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.cohere.conversation import THINKING, TOOL_PLAN, reasoning_detail
from services.provider_worker.adapters.cohere.errors import failure_of_document, failure_of_finish_reason
from services.provider_worker.adapters.cohere.response import openai_logprobs, read_completion
from services.provider_worker.adapters.cohere.usage import openai_finish_reason, read_usage
from services.provider_worker.adapters.openai_format.completion import ChunkWriter
from services.provider_worker.adapters.openai_format.usage import NO_USAGE
from services.provider_worker.adapters.response.body import BodyBuffer
from services.provider_worker.adapters.response.errors import (
    EVENT_NOT_AN_OBJECT,
    EVENT_TOO_DEEP,
    EVENT_TOO_LARGE,
    NOT_A_STREAM,
    invalid_response,
    make_failure,
    truncated_stream,
)
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    as_objects,
    as_text,
    parse_object,
)
from services.provider_worker.adapters.response.sse import BEFORE_BODY, EventParser
from services.provider_worker.adapters.response.whole_answer import as_stream

_MAX_CALLS = 1024
"""More tool calls than that in one answer are a defect."""


class StreamReader:
    """Reads one event stream; `headers` have names in lower case."""

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self._run = run
        self._headers = headers
        self._events = EventParser()
        self._writer = ChunkWriter(run, headers)
        self._started = False
        self._document: BodyBuffer | None = None
        self._thinking: list[str] = []
        self._plan: list[str] = []
        self._details = 0
        self._failure: Failure | None = None
        self._usage = NO_USAGE

    @property
    def over(self) -> bool:
        """Whether the provider has ended the answer, or reported an error."""
        ended = self._writer.finish_reason is not None or self._failure is not None
        return ended or (self._document is not None and self._document.too_large)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the chunks that `data` completes."""
        first = data.lstrip(BEFORE_BODY)[:1]
        if first and not self._started:
            self._started = True
            # No event stream begins like this: it is a document, most likely an error under status 200.
            self._document = BodyBuffer() if first in b"{[<" else None
        if self._document is not None:
            self._document.add(data)
            return []
        if self.over:
            return []
        for _, event in self._events.feed(data):
            self._read(event)
            if self.over:
                break
        if self._events.overflow and not self.over:
            self._fail(EVENT_TOO_LARGE)
        return self._writer.take()

    def close(self) -> Answer:
        """Return the stream's result. Without `message-end` it is `truncated`."""
        if self._document is not None:
            return self._read_document(self._document.content)
        late = [] if self.over else self._read_last()
        failure = self._failure or self._missing_end()
        return Answer(
            failure=failure,
            finish_reason=self._writer.finish_reason,
            usage=self._usage.report,
            late=() if failure is not None else tuple(late),
        )

    def _read_document(self, content: bytes) -> Answer:
        """Return the result of a document in place of a stream: a whole answer, or an error."""
        answer = read_completion(self._run, self._headers, content)
        if answer.failure is None:
            return as_stream(answer, include_usage=self._run.include_usage)
        document = parse_object(content)
        known = None if document is None else failure_of_document(document, Where.HTTP_200_BODY)
        return replace(answer, failure=known or invalid_response(NOT_A_STREAM))

    def _read_last(self) -> list[bytes]:
        """Return the chunks of an event without its blank line: complete JSON is an event, anything less is not read."""
        for _, event in self._events.finish():
            if parse_object(event) is not None:
                self._read(event)
        return self._writer.take()

    def _missing_end(self) -> Failure | None:
        if self._writer.finish_reason is not None:
            return None
        return truncated_stream()

    def _read(self, data: bytes) -> None:
        if data.startswith(b"[DONE]") or not data.strip():
            return
        event = parse_object(data)
        if event is None:
            self._fail(EVENT_NOT_AN_OBJECT)
            return
        self._read_event(event)
        if self._writer.too_deep:
            self._fail(EVENT_TOO_DEEP)

    def _read_event(self, event: JsonObject) -> None:
        kind = event.get("type")
        delta = as_object(event.get("delta"))
        message = as_object(delta.get("message"))
        if kind == "message-start":
            self._writer.answer_id = as_text(event.get("id"))
        elif kind in ("content-start", "content-delta"):
            self._read_content(as_object(message.get("content")), event.get("logprobs") or delta.get("logprobs"))
        elif kind == "content-end":
            self._end_thinking()
        elif kind == "tool-plan-delta":
            self._plan.append(as_text(message.get("tool_plan")))
            self._writer.write_reasoning(self._plan[-1])
        elif kind in ("tool-call-start", "tool-call-delta"):
            self._read_call(event.get("index"), message, begins=kind == "tool-call-start")
        elif kind == "citation-start":
            self._send_citations(as_objects(message.get("citations")))
        elif kind == "message-end":
            self._read_end(delta)
        elif not isinstance(kind, str) or kind in ("error", "stream-error"):
            self._failure = failure_of_document(event, self._writer.where)

    def _read_content(self, content: JsonObject, logprobs: object) -> None:
        thinking = as_text(content.get("thinking"))
        if thinking:
            self._thinking.append(thinking)
            self._writer.write_reasoning(thinking)
        self._writer.write_text(as_text(content.get("text")), openai_logprobs(logprobs))

    def _read_call(self, index: object, message: JsonObject, *, begins: bool) -> None:
        self._end_plan()
        key = index if isinstance(index, int) else 0
        for call in as_objects(message.get("tool_calls")):
            function = as_object(call.get("function"))
            if begins and self._writer.calls >= _MAX_CALLS:
                self._fail("The provider sent more tool calls than the gateway accepts.")
                return
            if begins:
                self._writer.begin_call(key, as_text(call.get("id")), as_text(function.get("name")))
            self._writer.fill_call(key, as_text(function.get("arguments")))

    def _send_citations(self, citations: list[JsonObject]) -> None:
        if citations:
            self._writer.write_delta({"citations": citations})

    def _read_end(self, delta: JsonObject) -> None:
        self._usage = self._usage.merge(read_usage(delta.get("usage")))
        reason = delta.get("finish_reason")
        self._failure = failure_of_finish_reason(reason, delta, self._writer.where)
        if self._failure is None:
            self._end_thinking()
            self._end_plan()
            self._writer.finish(openai_finish_reason(reason, calls_tools=self._writer.calls > 0))
            self._writer.write_end(self._usage.openai, {})

    def _end_thinking(self) -> None:
        self._thinking = self._send_detail(THINKING, self._thinking)

    def _end_plan(self) -> None:
        self._plan = self._send_detail(TOOL_PLAN, self._plan)

    def _send_detail(self, form: str, pieces: list[str]) -> list[str]:
        """Send what a follow-up turn has to repeat, in one piece; return the emptied list."""
        text = "".join(pieces)
        if text:
            self._writer.write_delta({"reasoning_details": [reasoning_detail(form, self._details, text)]})
            self._details += 1
        return []

    def _fail(self, message: str) -> None:
        self._failure = make_failure(FailureClass.SERVER, message, Where.MID_STREAM)
