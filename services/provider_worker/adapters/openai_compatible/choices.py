"""One choice of a streamed answer, followed from its first delta to its finish reason."""

from services.provider_worker.adapters.openai_compatible.message import repair_message, says_something
from services.provider_worker.adapters.openai_compatible.tool_calls import ToolCallPieces
from services.provider_worker.adapters.response.finish_reason import openai_finish
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects


class StreamedChoice:
    """Repairs the deltas of one choice. `id_prefix` starts the ids of tool calls that come without one."""

    def __init__(self, id_prefix: str) -> None:
        self.finish_reason: str | None = None
        self.spoken = False
        """Whether any answer has come: text, reasoning, a tool call."""
        self._calls = ToolCallPieces(id_prefix)

    def repair(self, choice: JsonObject) -> bool:
        """Puts one chunk's choice right in place; whether anything had to be changed."""
        delta = choice.get("delta")
        changed = False
        if not isinstance(delta, dict):
            # A server that does not really stream sends the whole message where the delta belongs.
            delta = self._from_message(choice)
            choice["delta"] = delta
            changed = True
        word = choice.get("finish_reason")
        if not word and len(delta) == 1 and isinstance(delta.get("content"), str):
            self.spoken = self.spoken or delta["content"] != ""
            return changed
        changed = repair_message(delta) or changed
        changed = self._calls.repair(delta) or changed
        self.spoken = self.spoken or says_something(delta)
        if isinstance(word, str) and word:
            changed = self._finish(choice, delta, word) or changed
        return changed

    def _from_message(self, choice: JsonObject) -> JsonObject:
        return {} if self.spoken else dict(as_object(choice.get("message")))

    def _finish(self, choice: JsonObject, delta: JsonObject, word: str) -> bool:
        reason = openai_finish(word, calls_tools=self._calls.any)
        if self.finish_reason == "tool_calls" and reason == "stop":
            # Together says `tool_calls` and then `stop`; the first tells the caller what to do.
            reason = "tool_calls"
        self.finish_reason = reason
        choice["finish_reason"] = reason
        unfilled = self._calls.take_unfilled() if reason in ("stop", "tool_calls") else []
        if unfilled:
            delta["tool_calls"] = as_objects(delta.get("tool_calls")) + unfilled
        return bool(unfilled) or reason != word
