"""Translates the caller's messages to Converse's `system` and `messages`.

Converse wants user and assistant to alternate, with tool results in the user's turn: neighbours of one role become one
message. System and developer messages move to the front, because Converse keeps them apart.
"""

import hashlib
import re

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.bedrock.content import ContentTranslator
from services.provider_worker.adapters.bedrock.reasoning import reasoning_blocks
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.openai_format.messages import read_messages, read_tool_calls
from services.provider_worker.adapters.response.json_text import JsonObject, as_text

_CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_NOT_IN_CALL_ID = re.compile(r"[^a-zA-Z0-9_.:-]")


class Conversation:
    """The translated messages of one request."""

    def __init__(self, fields: CallerFields) -> None:
        """Translate the messages. Raises RefusedByAdapter for messages that cannot be translated."""
        self.system: list[JsonObject] = []
        self.messages: list[JsonObject] = []
        self.calls_tools = False
        """Whether there are calls or results of tools, which Converse accepts only beside a `toolConfig`."""
        self._content = ContentTranslator(fields)
        for path, message in read_messages(fields):
            self._add(path, message)
        if not self.messages:
            raise bad_request("`messages` must hold a message that is not empty, beside the system's.", "messages")

    def _add(self, path: str, message: JsonObject) -> None:
        role = message["role"]
        if role in ("system", "developer"):
            blocks = self._content.translate(path, message.get("content"))
            if any("text" not in block and "cachePoint" not in block for block in blocks):
                raise bad_request(f"`{path}.content` may hold nothing but text: it is the system's.", f"{path}.content")
            self.system += blocks
        elif role == "assistant":
            self._append("assistant", self._translate_assistant(path, message))
        elif role == "tool":
            self._append("user", self._translate_result(path, message))
        else:
            self._append("user", self._content.translate(path, message.get("content")))

    def _translate_assistant(self, path: str, message: JsonObject) -> list[JsonObject]:
        blocks = reasoning_blocks(message) + self._content.translate(path, message.get("content"))
        refusal = as_text(message.get("refusal"))
        if refusal:
            blocks.append({"text": refusal})
        for call in read_tool_calls(path, message):
            self.calls_tools = True
            use = {"toolUseId": bedrock_call_id(call.id), "name": call.name, "input": call.arguments_object}
            blocks.append({"toolUse": use})
        return blocks

    def _translate_result(self, path: str, message: JsonObject) -> list[JsonObject]:
        call_id = as_text(message.get("tool_call_id"))
        if not call_id:
            raise bad_request(f"`{path}.tool_call_id` must name the call that this answers.", f"{path}.tool_call_id")
        self.calls_tools = True
        blocks = self._content.translate(path, message.get("content"))
        # A cache point belongs beside a tool's result, not in it.
        points = [block for block in blocks if "cachePoint" in block]
        content = [block for block in blocks if "cachePoint" not in block]
        if any("audio" in block for block in content):
            raise bad_request(f"AWS Bedrock takes no audio as a tool's result: `{path}.content`.", f"{path}.content")
        return [{"toolResult": {"toolUseId": bedrock_call_id(call_id), "content": content}}, *points]

    def _append(self, role: str, blocks: list[JsonObject]) -> None:
        if not blocks:
            return
        if self.messages and self.messages[-1]["role"] == role:
            content = self.messages[-1]["content"]
            assert isinstance(content, list)
            content += blocks
        else:
            self.messages.append({"role": role, "content": blocks})


def bedrock_call_id(call_id: str) -> str:
    """Return `call_id` if Bedrock accepts it, else one derived from it.

    A call and its result get the same id, and no other call does.
    """
    if _CALL_ID.fullmatch(call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{_NOT_IN_CALL_ID.sub('_', call_id)[:50]}_{digest}"
