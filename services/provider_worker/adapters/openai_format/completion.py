"""Builds OpenAI's `chat.completion` and `chat.completion.chunk` objects.

Source of the shapes: the OpenAI API reference, "The chat completion object" and "The chat completion chunk object".
"""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Where
from services.provider_worker.adapters.response.arguments import ArgumentsFilter
from services.provider_worker.adapters.response.json_text import JsonObject, render


def build_envelope(run: AttemptRun, headers: Mapping[str, str], answer_id: str, kind: str) -> JsonObject:
    """Build the fields around the choices.

    `created` is the provider's own date, or 0 if it sent none: adapters have no clock.
    """
    return {
        "id": answer_id or f"chatcmpl-{run.attempt_id}",
        "object": kind,
        "created": _parse_unix_seconds(headers.get("date")),
        "model": run.model,
    }


def build_completion(
    around: JsonObject, message: JsonObject, finish_reason: str, logprobs: object = None
) -> JsonObject:
    """Build a completion with one choice; `around` is its envelope and any other top-level fields."""
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}
    return around | {"choices": [choice]}


class ChunkWriter:
    """Builds the chunks of one streamed answer and keeps those not yet fetched.

    Nothing is written before there is output: the role goes out with its first piece, so a provider that fails before
    that has delivered nothing.
    """

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self.has_output = False
        self.too_deep = False
        """Whether the provider sent something that is nested too deeply to be rendered."""
        self.answer_id = ""
        """The provider's id of the answer; has to be set before the first chunk."""
        self.finish_reason: str | None = None
        self._run = run
        self._headers = headers
        self._around: JsonObject | None = None
        self._written: list[bytes] = []
        self._calls: dict[object, int] = {}
        self._arguments: list[ArgumentsFilter] = []
        self._without_arguments: set[int] = set()

    @property
    def where(self) -> Where:
        """Where an error happens now: before the first chunk it is one inside a 200, not a broken answer."""
        return Where.MID_STREAM if self.has_output else Where.HTTP_200_BODY

    @property
    def calls(self) -> int:
        """How many tool calls have begun."""
        return len(self._calls)

    def take(self) -> list[bytes]:
        """Return the chunks written since the last call."""
        written, self._written = self._written, []
        return written

    def write_text(self, text: str, logprobs: object = None) -> None:
        """Write a piece of the answer's text."""
        if text:
            self.write_delta({"content": text}, logprobs=logprobs)

    def write_reasoning(self, text: str) -> None:
        """Write a piece of the model's reasoning."""
        if text:
            self.write_delta({"reasoning_content": text})

    def begin_call(self, key: object, call_id: str, name: str) -> None:
        """Begin a tool call; `key` is what the provider's later pieces refer to it by."""
        index = self._calls[key] = len(self._calls)
        self._arguments.append(ArgumentsFilter())
        self._without_arguments.add(index)
        call_id = call_id or f"call_{self._run.attempt_id}_{index}"
        function = {"name": name, "arguments": ""}
        self.write_delta({"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]})

    def fill_call(self, key: object, arguments: str) -> None:
        """Write a piece of the arguments of the call that began with `key`."""
        index = self._calls.get(key)
        arguments = "" if index is None else self._arguments[index].feed(arguments)
        if index is not None and arguments:
            self._without_arguments.discard(index)
            self.write_delta({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})

    def write_delta(self, delta: JsonObject, finish_reason: str | None = None, logprobs: object = None) -> None:
        """Write a chunk with this delta."""
        if not self.has_output:
            delta = {"role": "assistant"} | delta
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        if self._write({"choices": [choice]}):
            self.has_output = True

    def finish(self, reason: str) -> None:
        """End the answer. Calls without any arguments get the empty object, unless the answer was cut short."""
        delta: JsonObject = {} if self.has_output else {"content": ""}
        whole = reason in ("stop", "tool_calls")
        missing: list[JsonObject] = []
        for index, arguments in enumerate(self._arguments):
            rest = arguments.take_rest() or ("{}" if whole and index in self._without_arguments else "")
            if rest:
                missing.append({"index": index, "function": {"arguments": rest}})
        if missing:
            delta["tool_calls"] = missing
        self._without_arguments.clear()
        self.finish_reason = reason
        self.write_delta(delta, reason)

    def write_end(self, usage: JsonObject | None, extra: JsonObject) -> None:
        """Write the chunk without choices: usage if requested, and the provider's other closing fields."""
        fields: JsonObject = dict(extra)
        if usage is not None and self._run.include_usage:
            fields["usage"] = usage
        if fields:
            self._write({"choices": [], **fields})

    def _write(self, chunk: JsonObject) -> bool:
        if self._around is None:
            self._around = build_envelope(self._run, self._headers, self.answer_id, "chat.completion.chunk")
        try:
            self._written.append(render(self._around | chunk))
        except ValueError:
            self.too_deep = True
        return not self.too_deep


def _parse_unix_seconds(date: str | None) -> int:
    try:
        moment = parsedate_to_datetime(date) if date else None
    except (ValueError, TypeError, OverflowError):
        return 0
    if moment is None:
        return 0
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
