"""Repairs the chunks of one streamed answer.

A chunk that already has OpenAI's shape is forwarded as the provider's bytes. Every chunk is parsed all the same: orjson
needs less than a microsecond for one, as little as searching it for the fields that matter, and broken JSON never
reaches a caller.
"""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.openai_compatible.message import has_output, repair_message
from services.provider_worker.adapters.openai_compatible.tool_calls import ToolCallRepairer
from services.provider_worker.adapters.response.errors import (
    EVENT_NOT_AN_OBJECT,
    EVENT_TOO_DEEP,
    failure_of_error,
    find_choice_failure,
    find_error,
    make_failure,
)
from services.provider_worker.adapters.response.finish_reason import as_finish_reason, openai_finish_reason
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    RepairedObject,
    as_object,
    as_objects,
    as_text,
    parse_first_object,
    parse_object,
    render,
    to_one_line,
)
from services.provider_worker.adapters.response.token_usage import openai_tally

_MAX_CHOICES = 128
"""OpenAI's largest `n`: more indices than that are a defect, not an answer."""

_ENVELOPE = frozenset(
    {
        "id", "object", "created", "model", "provider", "choices", "usage",
        "system_fingerprint", "service_tier", "obfuscation", "x_groq",
    }
)  # fmt: skip
"""Fields that carry nothing new in a chunk without choices."""


class ChunkRepairer:
    """Repairs chunk after chunk. `failure` is final once a provider reports or causes one."""

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self.failure: Failure | None = None
        self.model_served: str | None = None
        self.usage = openai_tally()
        self._include_usage = run.include_usage
        self._call_id_prefix = f"call_{run.attempt_id}"
        self._headers = headers
        self._choices: dict[int, ChoiceRepairer] = {}
        self._around: JsonObject = {}
        """The fields around the choices of the first chunk."""

    @property
    def has_output(self) -> bool:
        """Whether any output has arrived: text, reasoning, a refusal, a tool call."""
        return any(choice.has_output for choice in self._choices.values())

    @property
    def finished(self) -> bool:
        """Whether every choice has its finish reason."""
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    @property
    def finish_reason(self) -> str | None:
        """The finish reason of the first choice."""
        return self._choices[min(self._choices)].finish_reason if self._choices else None

    @property
    def _where(self) -> Where:
        """Where a failure happens now: before the first token it is an error inside a 200, not a broken answer."""
        return Where.MID_STREAM if self.has_output else Where.HTTP_200_BODY

    def read_error(self, data: bytes) -> None:
        """Read the data of an event named `error`."""
        document = parse_first_object(data)
        error = data.decode("utf-8", "replace") if document is None else find_error(document) or document
        self.failure = failure_of_error(error, self._where, self._headers)

    def repair_chunk(self, data: bytes) -> bytes | None:
        """Return the chunk for the caller, or null if `data` holds nothing for it or is a failure."""
        chunk = parse_object(data)
        if chunk is None:
            listed = parse_first_object(data)
            if listed is not None and find_error(listed) is not None:
                self.read_error(data)
            else:
                self._fail(EVENT_NOT_AN_OBJECT)
            return None
        plain = self._repair_plain(chunk)
        if plain is None:
            return self._repair_any(chunk, data)
        return self._render(chunk if plain or type(chunk) is not dict else None, data)

    def take_rest(self) -> list[bytes]:
        """Return a chunk with what was held back of tool calls that got no finish reason, if there is any."""
        choices: list[JsonObject] = []
        for index, state in self._choices.items():
            missing = [] if state.finish_reason else state.take_missing_arguments()
            if missing:
                choices.append({"index": index, "delta": {"tool_calls": missing}, "finish_reason": None})
        return [render(self._around | {"choices": choices})] if choices else []

    def _repair_plain(self, chunk: JsonObject) -> bool | None:
        """Repair a chunk that holds only a piece of a known choice, as nearly all do: whether it changed; null for others."""
        choices = chunk.get("choices")
        if (
            type(choices) is not list
            or len(choices) != 1
            or chunk.get("usage") is not None
            or "error" in chunk
            or "x_groq" in chunk
        ):
            return None
        choice = choices[0]
        if type(choice) is not dict or choice.get("finish_reason") is not None or "error" in choice:
            return None
        index = choice.get("index")
        state = self._choices.get(index) if type(index) is int else None
        return None if state is None else state.repair(choice)

    def _repair_any(self, chunk: JsonObject, data: bytes) -> bytes | None:
        raw_choices = chunk.get("choices")
        choices = as_objects(raw_choices)
        model = chunk.get("model")
        if not self._around:
            around = {name: chunk.get(name) for name in ("id", "object", "created", "model")}
            self._around = {name: value for name, value in around.items() if isinstance(value, str | int)}
        if self.model_served is None and isinstance(model, str) and model:
            self.model_served = model
        usage_changed = self._take_usage(chunk, choices)
        error = find_error(chunk) or _groq_error(chunk)
        if error is not None:
            self.failure = failure_of_error(error, self._where, self._headers)
        else:
            self.failure = find_choice_failure(choices, self._where, self._headers)
        if self.failure is not None or not (choices or self._worth_sending(chunk)):
            return None
        changed = self._repair(choices) or choices != raw_choices
        if changed:
            chunk["choices"] = choices
        return self._render(chunk if changed or usage_changed or isinstance(chunk, RepairedObject) else None, data)

    def _render(self, chunk: JsonObject | None, data: bytes) -> bytes | None:
        if self.failure is not None:
            return None
        try:
            return to_one_line(data) if chunk is None else render(chunk)
        except ValueError:
            self._fail(EVENT_TOO_DEEP)
            return None

    def _take_usage(self, chunk: JsonObject, choices: list[JsonObject]) -> bool:
        """Keep a chunk's usage and leave in the chunk what was requested; return whether the chunk changed."""
        usage, groq = chunk.get("usage"), chunk.get("x_groq")
        in_groq = isinstance(groq, dict) and groq.pop("usage", None)
        usage = usage or in_groq
        if not usage:
            # Moonshot reports in the last choice, unless asked to report in the chunk.
            self.usage.take(next((choice["usage"] for choice in choices if choice.get("usage")), None))
            # An empty text or object where null is meant.
            return chunk.get("usage") is not None and chunk.update(usage=None) is None
        self.usage.take(usage)
        if not self._include_usage:
            chunk.pop("usage", None)
            return True
        at_end = (
            not choices or self.finished or any(as_finish_reason(choice.get("finish_reason")) for choice in choices)
        )
        read = self.usage.usage() if at_end else None
        chunk["usage"] = None if read is None else read.openai
        return chunk["usage"] is not usage or bool(in_groq)

    def _worth_sending(self, chunk: JsonObject) -> bool:
        """Return whether a chunk without choices matters to the caller: requested usage, or a field of the provider's own."""
        return bool(chunk.get("usage")) or any(value for name, value in chunk.items() if name not in _ENVELOPE)

    def _repair(self, choices: list[JsonObject]) -> bool:
        changed = False
        for choice in choices:
            index = choice.get("index")
            if not isinstance(index, int):
                choice["index"] = index = 0
                changed = True
            state = self._choices.get(index)
            if state is None:
                if len(self._choices) >= _MAX_CHOICES:
                    self._fail("The provider sent more choices than can be requested.")
                    break
                prefix = f"{self._call_id_prefix}_{index}" if index else self._call_id_prefix
                state = self._choices[index] = ChoiceRepairer(prefix)
            changed = state.repair(choice) or changed
        return changed

    def _fail(self, message: str) -> None:
        self.failure = make_failure(FailureClass.SERVER, message, self._where)


def _groq_error(chunk: JsonObject) -> JsonObject | None:
    """Return why Groq stopped a stream early, which it reports in one word in a field of its own; null if it did not."""
    word = as_text(as_object(chunk.get("x_groq")).get("error"))
    return {"code": word, "message": word} if word else None


class ChoiceRepairer:
    """Repairs the deltas of one choice. `id_prefix` starts the ids of tool calls without one."""

    def __init__(self, id_prefix: str) -> None:
        self.finish_reason: str | None = None
        self.has_output = False
        """Whether any output has arrived: text, reasoning, a tool call."""
        self._calls = ToolCallRepairer(id_prefix)

    def repair(self, choice: JsonObject) -> bool:
        """Repair one chunk's choice in place; return whether anything changed."""
        delta = choice.get("delta")
        changed = False
        if not isinstance(delta, dict):
            # A server that does not really stream sends the complete message in place of the delta.
            delta = self._from_message(choice)
            choice["delta"] = delta
            changed = True
        reason = choice.get("finish_reason")
        word = "" if reason is None else as_finish_reason(reason)
        if not word and reason is not None:
            choice["finish_reason"], changed = None, True
        if not word and len(delta) == 1 and isinstance(delta.get("content"), str):
            self.has_output = self.has_output or delta["content"] != ""
            return changed
        changed = repair_message(delta) or changed
        changed = self._calls.repair(delta) or changed
        self.has_output = self.has_output or has_output(delta)
        if word:
            changed = self._finish(choice, delta, word) or changed
        return changed

    def take_missing_arguments(self) -> list[JsonObject]:
        """Return pieces with what was held back of calls' arguments, at the end of an answer without a finish reason."""
        return self._calls.take_missing_arguments(cut_short=False)

    def _from_message(self, choice: JsonObject) -> JsonObject:
        return {} if self.has_output else dict(as_object(choice.get("message")))

    def _finish(self, choice: JsonObject, delta: JsonObject, word: str) -> bool:
        reason = openai_finish_reason(word, calls_tools=self._calls.any)
        if self.finish_reason == "tool_calls" and reason == "stop":
            # Together sends `tool_calls` and then `stop`; the first is what the caller has to act on.
            reason = "tool_calls"
        self.finish_reason = reason
        changed = choice["finish_reason"] != reason
        choice["finish_reason"] = reason
        missing = self._calls.take_missing_arguments(cut_short=reason not in ("stop", "tool_calls"))
        if missing:
            delta["tool_calls"] = as_objects(delta.get("tool_calls")) + missing
        return bool(missing) or changed
