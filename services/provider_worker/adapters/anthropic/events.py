"""Converts the events of one streamed message to chunks."""

from collections.abc import Callable
from dataclasses import dataclass, field

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.anthropic.blocks import (
    THINKING,
    extension_fields,
    is_cut_short,
    is_json_answer,
    openai_finish_reason,
    reasoning_detail,
    refusal_text,
    render_arguments,
)
from services.provider_worker.adapters.anthropic.errors import failure_of_event
from services.provider_worker.adapters.anthropic.response import build_envelope
from services.provider_worker.adapters.anthropic.usage import UsageTally
from services.provider_worker.adapters.response.arguments import ArgumentsFilter
from services.provider_worker.adapters.response.errors import (
    EMPTY_RESPONSE,
    EVENT_TOO_DEEP,
    TRUNCATED,
    invalid_response,
    make_failure,
)
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text, parse_object, render

_PIECES = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
"""Text delta type -> the field of the delta, which is also the field of the block."""


@dataclass(slots=True)
class _Block:
    """One content block in progress: its start, and the pieces of its fields since."""

    start: JsonObject
    call_index: int | None = None
    """Its index among the tool calls of the answer, if it is one."""
    is_json_answer: bool = False
    """Whether its arguments are the answer."""
    arguments: ArgumentsFilter = field(default_factory=ArgumentsFilter)
    has_arguments: bool = False
    """Whether any of its arguments have been sent."""
    stopped: bool = False
    pieces: dict[str, list[str]] = field(default_factory=dict)
    citations: list[object] = field(default_factory=list)

    def add(self, name: str, piece: str) -> None:
        self.pieces.setdefault(name, []).append(piece)

    def complete(self) -> JsonObject:
        """Return the block as a non-streamed answer would hold it."""
        block = dict(self.start)
        for name, pieces in self.pieces.items():
            text = "".join(pieces)
            if name == "input":
                arguments = parse_object(text.encode("utf-8", "replace"))
                block["input"] = block.get("input") if arguments is None else arguments
            else:
                block[name] = as_text(block.get(name)) + text
        if self.citations:
            block["citations"] = self.citations
        return block


class MessageEvents:
    """Reads event after event; `take` returns the chunks made of them. `failure` is final."""

    def __init__(self, run: AttemptRun, json_tool: str | None) -> None:
        self.failure: Failure | None = None
        self.finished = False
        """Whether the stop reason has arrived, which shows that the answer is complete."""
        self._run = run
        self._json_tool = json_tool
        self._usage = UsageTally()
        self._stopped = False
        self._has_output = False
        self._finish_reason: str | None = None
        self._model_served: str | None = None
        self._envelope = build_envelope(run, {}, "chat.completion.chunk")
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._details = 0
        self._chunks: list[bytes] = []
        self._readers: dict[str, Callable[[JsonObject], None]] = {
            "message_start": self._read_message_start,
            "content_block_start": self._read_block_start,
            "content_block_delta": self._read_block_delta,
            "content_block_stop": self._read_block_stop,
            "message_delta": self._read_message_delta,
            "message_stop": self._read_message_stop,
            "error": self.read_error,
        }

    @property
    def over(self) -> bool:
        """Whether nothing that follows matters."""
        return self._stopped or self.failure is not None

    def take(self) -> list[bytes]:
        """Return the chunks completed since the last call."""
        chunks, self._chunks = self._chunks, []
        return chunks

    def read(self, event: JsonObject) -> None:
        """Read one event."""
        reader = self._readers.get(as_text(event.get("type")))
        if reader is not None:
            reader(event)
        elif "error" in event:
            self.read_error(event)

    def read_error(self, error: object) -> None:
        """Read the data of an error event, an object or a text."""
        self.failure = failure_of_event(error, Where.MID_STREAM if self._has_output else Where.HTTP_200_BODY)

    def fail(self, failure_class: FailureClass, message: str) -> None:
        """End the answer for a fault that was detected here."""
        self.failure = make_failure(failure_class, message, Where.MID_STREAM)

    def answer(self) -> Answer:
        """Return the result of the events."""
        if self.failure is None and not self.finished:
            if self._stopped and not self._has_output:
                self.failure = invalid_response(EMPTY_RESPONSE)
            elif not self._stopped:
                self.fail(FailureClass.TRUNCATED, TRUNCATED)
        elif self.failure is None and not self._stopped:
            self._write_usage()
        return Answer(
            failure=self.failure,
            finish_reason=self._finish_reason,
            model_served=self._model_served,
            service_tier=self._usage.service_tier,
            usage=self._usage.report,
        )

    def _read_message_start(self, event: JsonObject) -> None:
        message = as_object(event.get("message"))
        self._usage.take(message.get("usage"))
        self._model_served = as_text(message.get("model")) or self._model_served
        self._envelope = build_envelope(self._run, message, "chat.completion.chunk")

    def _read_block_start(self, event: JsonObject) -> None:
        block = _Block(as_object(event.get("content_block")))
        self._blocks[_index(event)] = block
        start = block.start
        kind = start.get("type")
        if kind == "tool_use":
            block.is_json_answer = is_json_answer(start, self._json_tool)
            if not block.is_json_answer:
                self._begin_call(block)
        elif kind == "text":
            self._send_text("content", as_text(start.get("text")))
        elif kind == "thinking":
            self._send_text("reasoning_content", as_text(start.get("thinking")))

    def _begin_call(self, block: _Block) -> None:
        block.call_index = self._calls
        self._calls += 1
        call_id = as_text(block.start.get("id")) or f"call_{self._run.attempt_id}_{block.call_index}"
        function = {"name": as_text(block.start.get("name")), "arguments": ""}
        call: JsonObject = {"index": block.call_index, "id": call_id, "type": "function", "function": function}
        self._send({"tool_calls": [call]})

    def _read_block_delta(self, event: JsonObject) -> None:
        delta = as_object(event.get("delta"))
        kind = as_text(delta.get("type"))
        block = self._blocks.get(_index(event))
        if block is None:
            block = self._blocks[_index(event)] = _Block(_implied_start(kind))
        name = _PIECES.get(kind)
        if name is not None:
            piece = as_text(delta.get(name))
            block.add(name, piece)
            if name != "signature":
                self._send_text("content" if name == "text" else "reasoning_content", piece)
        elif kind == "input_json_delta":
            self._add_arguments(block, as_text(delta.get("partial_json")))
        elif kind == "citations_delta":
            block.citations.append(delta.get("citation"))

    def _add_arguments(self, block: _Block, piece: str) -> None:
        if not piece:
            return
        if block.call_index is None and not block.is_json_answer and not block.start:
            self.fail(FailureClass.SERVER, "The provider sent arguments of a tool call that has not begun.")
            return
        piece = block.arguments.feed(piece)
        if not piece:
            return
        block.add("input", piece)
        if block.is_json_answer:
            block.has_arguments = True
            self._send_text("content", piece)
        elif block.call_index is not None:
            block.has_arguments = True
            self._send({"tool_calls": [{"index": block.call_index, "function": {"arguments": piece}}]})

    def _read_block_stop(self, event: JsonObject) -> None:
        block = self._blocks.get(_index(event))
        if block is None or block.stopped:
            return
        block.stopped = True
        if block.start.get("type") in THINKING:
            self._send({"reasoning_details": [reasoning_detail(block.complete(), self._details)]})
            self._details += 1

    def _read_message_delta(self, event: JsonObject) -> None:
        self._usage.take(event.get("usage"))
        delta = as_object(event.get("delta"))
        stop_reason = as_text(delta.get("stop_reason"))
        if stop_reason and not self.finished:
            self._finish(stop_reason, refusal_text(delta.get("stop_details")))

    def _finish(self, stop_reason: str, refusal: str | None) -> None:
        reason = openai_finish_reason(stop_reason, calls_tools=self._calls > 0)
        try:
            last = self._last_delta(reason, refusal)
        except ValueError:
            self._too_deep()
            return
        self.finished = True
        self._finish_reason = reason
        self._send(last, reason, stop_reason)

    def _last_delta(self, reason: str, refusal: str | None) -> JsonObject:
        """Build the delta with the fields known only at the end. Raises ValueError if it is nested too deeply."""
        cut_short = is_cut_short(reason)
        rests = [(block, self._take_rest(block, cut_short=cut_short)) for block in self._blocks.values()]
        blocks = [block.complete() for _, block in sorted(self._blocks.items())]
        delta = extension_fields(blocks, self._json_tool)
        missing = [
            {"index": block.call_index, "function": {"arguments": rest}}
            for block, rest in rests
            if rest and block.call_index is not None
        ]
        if missing:
            delta["tool_calls"] = missing
        text = "".join(rest for block, rest in rests if block.is_json_answer)
        if text:
            delta["content"] = text
        if refusal is not None:
            delta["refusal"] = refusal
        return delta

    def _take_rest(self, block: _Block, *, cut_short: bool) -> str:
        """Return the arguments that were held back; where there are none at all those of the start, usually the empty object."""
        if block.call_index is None and not block.is_json_answer:
            return ""
        rest = block.arguments.take_rest()
        if block.has_arguments or (rest and rest != "{}"):
            block.add("input", rest)
            return rest
        return render_arguments(block.start) if rest or not cut_short else ""

    def _read_message_stop(self, event: JsonObject) -> None:
        self._stopped = True
        if self._has_output and not self.finished:
            # The end of the message suffices, even without a stop reason.
            self._finish("", None)
        if self.finished:
            self._write_usage()

    def _write_usage(self) -> None:
        # At the very end: some gateways report it after the stop reason.
        usage = self._usage.openai() if self._run.include_usage else None
        if usage is not None:
            self._write({"choices": [], "usage": usage})

    def _send_text(self, name: str, text: str) -> None:
        if text:
            self._send({name: text})

    def _send(self, delta: JsonObject, reason: str | None = None, stop_reason: str | None = None) -> None:
        if not self._has_output:
            self._has_output = True
            delta = {"role": "assistant", **delta}
        choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": reason}
        if stop_reason:
            choice["native_finish_reason"] = stop_reason
        self._write({"choices": [choice]})

    def _write(self, fields: JsonObject) -> None:
        try:
            self._chunks.append(render(self._envelope | fields))
        except ValueError:
            self._too_deep()

    def _too_deep(self) -> None:
        self.fail(FailureClass.SERVER, EVENT_TOO_DEEP)


def _index(event: JsonObject) -> int:
    index = event.get("index")
    return index if type(index) is int else 0


def _implied_start(kind: str) -> JsonObject:
    """Return the start of a block that begins with a delta."""
    if kind in ("text_delta", "citations_delta"):
        return {"type": "text"}
    return {"type": "thinking"} if kind in ("thinking_delta", "signature_delta") else {}
