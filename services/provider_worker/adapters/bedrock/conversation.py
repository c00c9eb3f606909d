"""Translates the caller's messages to Converse's `system` and `messages`.

Converse wants user and assistant to alternate, with tool results in the user's turn: neighbours of one role become one
message. System and developer messages move to the front, because Converse keeps them apart.
"""

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.bedrock.content import ContentTranslator, with_document_text
from services.provider_worker.adapters.bedrock.reasoning import reasoning_blocks
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.openai_format.messages import read_messages, read_tool_calls
from services.provider_worker.adapters.openai_format.placeholders import EMPTY_RESULT
from services.provider_worker.adapters.openai_format.turns import Turn, join_turns, trim_end
from services.provider_worker.adapters.response.json_text import JsonObject, as_text


class Conversation:
    """The translated messages of one request."""

    def __init__(self, fields: CallerFields) -> None:
        """Translate the messages. Raises RefusedByAdapter for messages that cannot be translated."""
        self.system: list[JsonObject] = []
        self.turns: list[Turn] = []
        self.calls_tools = False
        """Whether there are calls or results of tools, which Converse accepts only beside a `toolConfig`."""
        self._content = ContentTranslator(fields)
        for path, message in read_messages(fields):
            self._add(path, message)
        self.turns = join_turns(self.turns, lambda text: {"text": text})
        trim_end(self.turns)
        if not self.turns:
            raise bad_request("`messages` must hold a message that is not empty, beside the system's.", "messages")

    @property
    def messages(self) -> list[JsonObject]:
        """The messages of the request."""
        return [
            {"role": turn.role, "content": with_document_text(turn.blocks) if turn.role == "user" else turn.blocks}
            for turn in self.turns
        ]

    @property
    def prefilled(self) -> str | None:
        """The path of an assistant's message that the answer is to continue, if the conversation ends with one."""
        last = self.turns[-1]
        return last.path if last.role == "assistant" else None

    @property
    def calls_without_thinking(self) -> bool:
        """Whether a tool loop is under way whose first call has no reasoning before it."""
        loop: list[Turn] = []
        for turn in reversed(self.turns):
            if turn.role == "user" and "toolResult" not in turn.blocks[0]:
                break
            loop.append(turn)
        first = loop[-1] if loop else None
        return (
            first is not None
            and first.role == "assistant"
            and "reasoningContent" not in first.blocks[0]
            and any("toolUse" in block for block in first.blocks)
        )

    def _add(self, path: str, message: JsonObject) -> None:
        role = message["role"]
        if role in ("system", "developer"):
            blocks = self._content.translate(path, message.get("content"))
            if any("text" not in block and "cachePoint" not in block for block in blocks):
                raise bad_request(f"`{path}.content` may hold nothing but text: it is the system's.", f"{path}.content")
            self.system += blocks
        elif role == "assistant":
            self.turns.append(Turn("assistant", self._translate_assistant(path, message), path))
        elif role == "tool":
            self.turns.append(Turn("user", self._translate_result(path, message), path))
        else:
            self.turns.append(Turn("user", self._content.translate(path, message.get("content")), path))

    def _translate_assistant(self, path: str, message: JsonObject) -> list[JsonObject]:
        said = self._content.translate(path, message.get("content"))
        if any("text" not in block and "cachePoint" not in block for block in said):
            raise bad_request(
                f"`{path}.content` may hold nothing but text: the assistant sends no media.", f"{path}.content"
            )
        blocks = reasoning_blocks(message) + said
        refusal = as_text(message.get("refusal"))
        if refusal.strip():
            blocks.append({"text": refusal})
        for call in read_tool_calls(path, message):
            self.calls_tools = True
            use = {"toolUseId": call.id, "name": call.name, "input": call.arguments_object}
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
        content = with_document_text(content) or [{"text": EMPTY_RESULT}]
        return [{"toolResult": {"toolUseId": call_id, "content": content}}, *points]
