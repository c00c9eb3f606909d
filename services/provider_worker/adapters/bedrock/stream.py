"""Reads the event stream of ConverseStream.

Source of the events: the AWS API reference, "ConverseStream". Only tool calls have a `contentBlockStart`; text and
reasoning begin with their first delta. The stream is complete once `messageStop` has arrived; `metadata` with the usage
follows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.bedrock.errors import failure_of_document, failure_of_exception
from services.provider_worker.adapters.bedrock.eventstream import Frame, FrameParser
from services.provider_worker.adapters.bedrock.reasoning import encrypted_detail, text_detail
from services.provider_worker.adapters.bedrock.response import (
    SERVER_TOOL,
    extra_fields,
    invoked_model,
    read_completion,
    service_tier,
)
from services.provider_worker.adapters.bedrock.usage import MALFORMED, openai_finish_reason, read_usage
from services.provider_worker.adapters.openai_format.completion import ChunkWriter
from services.provider_worker.adapters.openai_format.usage import NO_USAGE
from services.provider_worker.adapters.response.body import BodyBuffer
from services.provider_worker.adapters.response.errors import (
    EVENT_NOT_AN_OBJECT,
    EVENT_TOO_DEEP,
    NOT_A_STREAM,
    invalid_response,
    make_failure,
    truncated_stream,
)
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text, parse_object, render
from services.provider_worker.adapters.response.whole_answer import as_stream

_MAX_BLOCKS = 1024
"""More content blocks than that in one answer are a defect."""


@dataclass(slots=True)
class _Block:
    """One content block that has begun."""

    is_call: bool = False
    reasoning: list[str] = field(default_factory=list)
    signature: str = ""
    redacted: str = ""


class StreamReader:
    """Reads one event stream; `headers` have names in lower case."""

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self._run = run
        self._headers = headers
        self._model = run.model
        self._frames = FrameParser()
        self._writer = ChunkWriter(run, headers)
        self._writer.answer_id = headers.get("x-amzn-requestid", "")
        self._started = False
        self._document: BodyBuffer | None = None
        self._blocks: dict[object, _Block] = {}
        self._details = 0
        self._failure: Failure | None = None
        self._usage = NO_USAGE
        self._model_served: str | None = None
        self._tier: str | None = None
        self._metadata_read = False

    @property
    def over(self) -> bool:
        """Whether everything has arrived, or an error."""
        finished = self._writer.finish_reason is not None and self._metadata_read
        return finished or self._failure is not None or (self._document is not None and self._document.too_large)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the chunks that `data` completes."""
        if data and not self._started:
            self._started = True
            # A frame begins with its length, whose first byte is 0: this is a document, most likely an error under status 200.
            self._document = BodyBuffer() if data[:1] in b"{[<\r\n\t " else None
        if self._document is not None:
            self._document.add(data)
            return []
        if self.over:
            return []
        for frame in self._frames.feed(data):
            self._read(frame)
            if self.over:
                break
        if self._frames.damage is not None and not self.over:
            self._fail(FailureClass.SERVER, self._frames.damage)
        return self._writer.take()

    def close(self) -> Answer:
        """Return the stream's result. Without `messageStop` it is `truncated`."""
        if self._document is not None:
            return self._read_document(self._document.content)
        return Answer(
            failure=self._failure or self._missing_end(),
            finish_reason=self._writer.finish_reason,
            model_served=self._model_served,
            service_tier=self._tier,
            usage=self._usage.report,
        )

    def _read_document(self, content: bytes) -> Answer:
        """Return the result of a document in place of a stream: a whole answer, or an error."""
        answer = read_completion(self._run, self._headers, content)
        if answer.failure is None:
            return as_stream(answer, include_usage=self._run.include_usage)
        document = parse_object(content)
        known = None if document is None else failure_of_document(document, Where.HTTP_200_BODY)
        return replace(answer, failure=known or invalid_response(NOT_A_STREAM))

    def _missing_end(self) -> Failure | None:
        if self._writer.finish_reason is not None:
            return None
        return truncated_stream()

    def _read(self, frame: Frame) -> None:
        kind = frame.headers.get(":message-type", "event")
        if kind == "exception":
            self._failure = failure_of_exception(
                frame.headers.get(":exception-type", ""), frame.payload, self._writer.where
            )
        elif kind == "error":
            body = render({"message": frame.headers.get(":error-message", "")})
            self._failure = failure_of_exception(frame.headers.get(":error-code", ""), body, self._writer.where)
        else:
            payload = parse_object(frame.payload) if frame.payload else {}
            if payload is None:
                self._fail(FailureClass.SERVER, EVENT_NOT_AN_OBJECT)
                return
            self._read_event(frame.headers.get(":event-type", ""), payload)
            if self._writer.too_deep:
                self._fail(FailureClass.SERVER, EVENT_TOO_DEEP)

    def _read_event(self, name: str, payload: JsonObject) -> None:
        key = self._block_key(payload)
        if name.startswith("contentBlock") and self._writer.finish_reason is not None:
            return
        if name == "contentBlockStart":
            self._start_block(key, as_object(payload.get("start")))
        elif name == "contentBlockDelta":
            self._read_delta(key, as_object(payload.get("delta")))
        elif name == "contentBlockStop":
            self._close_block(self._blocks.pop(key, None))
        elif name == "messageStop":
            self._read_stop(payload)
        elif name == "metadata":
            self._read_metadata(payload)
        elif name.lower().endswith("exception"):
            # Some proxies relay an exception as an event of its name.
            self._failure = failure_of_exception(name, render_or_empty(payload), self._writer.where)

    def _block_key(self, payload: JsonObject) -> int:
        index = payload.get("contentBlockIndex")
        return index if isinstance(index, int) else 0

    def _block(self, key: int) -> _Block:
        block = self._blocks.get(key)
        if block is None:
            if len(self._blocks) >= _MAX_BLOCKS:
                self._fail(FailureClass.SERVER, "The provider sent more content blocks than the gateway accepts.")
            block = self._blocks[key] = _Block()
        return block

    def _start_block(self, key: int, start: JsonObject) -> None:
        use = as_object(start.get("toolUse"))
        if use and use.get("type") != SERVER_TOOL:
            self._block(key).is_call = True
            self._writer.begin_call(key, as_text(use.get("toolUseId")), as_text(use.get("name")))
        elif start:
            self._writer.write_delta({"content_parts": [start]})

    def _read_delta(self, key: int, delta: JsonObject) -> None:
        for name, value in delta.items():
            if name == "text" and isinstance(value, str):
                self._writer.write_text(value)
            elif name == "toolUse" and self._block(key).is_call:
                self._writer.fill_call(key, as_text(as_object(value).get("input")))
            elif name == "reasoningContent":
                self._add_reasoning(self._block(key), as_object(value))
            elif name == "citation" and isinstance(value, dict):
                self._writer.write_delta({"citations": [value]})
            elif value:
                self._writer.write_delta({"content_parts": [{name: value}]})

    def _add_reasoning(self, block: _Block, delta: JsonObject) -> None:
        text = as_text(delta.get("text"))
        block.reasoning.append(text)
        block.signature += as_text(delta.get("signature"))
        block.redacted += as_text(delta.get("redactedContent"))
        self._writer.write_reasoning(text)

    def _close_block(self, block: _Block | None) -> None:
        """Send what a follow-up turn has to repeat of a block of reasoning, in one piece."""
        if block is None:
            return
        if block.signature:
            self._send_detail(text_detail(self._model, self._details, "".join(block.reasoning), block.signature))
        if block.redacted:
            self._send_detail(encrypted_detail(self._model, self._details, block.redacted))

    def _send_detail(self, detail: JsonObject) -> None:
        self._details += 1
        self._writer.write_delta({"reasoning_details": [detail]})

    def _read_stop(self, payload: JsonObject) -> None:
        for key in list(self._blocks):
            self._close_block(self._blocks.pop(key))
        reason = as_text(payload.get("stopReason"))
        if reason in MALFORMED:
            self._fail(FailureClass.SERVER, f"The provider failed: its stop reason is {reason!r}.")
            return
        if self._writer.finish_reason is None:
            self._writer.finish(openai_finish_reason(reason, calls_tools=self._writer.calls > 0))
            beside = extra_fields(payload)
            if beside:
                self._writer.write_end(None, beside)

    def _read_metadata(self, payload: JsonObject) -> None:
        self._metadata_read = True
        self._usage = self._usage.merge(read_usage(payload.get("usage")))
        self._model_served, self._tier = invoked_model(payload), service_tier(payload)
        extra = extra_fields(payload) | ({} if self._tier is None else {"service_tier": self._tier})
        self._writer.write_end(self._usage.openai, extra)

    def _fail(self, failure_class: FailureClass, message: str) -> None:
        self._failure = make_failure(failure_class, message, Where.MID_STREAM)


def render_or_empty(document: JsonObject) -> bytes:
    """Render `document` as JSON, or an empty object if it is nested too deeply."""
    try:
        return render(document)
    except ValueError:
        return b"{}"
