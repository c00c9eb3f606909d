"""Translates OpenAI's messages to Anthropic's: a separate system prompt, alternating turns, tool results in the user's turns.

Source: Anthropic's Messages API reference. System messages move to the front, wherever the caller put them.
"""

from collections.abc import Sequence

from services.provider_worker.adapters.anthropic.content import ContentTranslator, text_block
from services.provider_worker.adapters.anthropic.history import assistant_blocks
from services.provider_worker.adapters.anthropic.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.openai_format.turns import Turn, join_turns, trim_end
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text

_KNOWN = frozenset({"role", "content", "name", "tool_call_id", "cache_control"})


class Conversation:
    """The `system` blocks and the `messages` of a request."""

    def __init__(self, unsupported: UnsupportedFields) -> None:
        self.system: list[JsonObject] = []
        self.turns: list[Turn] = []
        self._unsupported = unsupported
        self._content = ContentTranslator(unsupported)

    def add_all(self, messages: object, paths: Sequence[str]) -> None:
        """Add OpenAI's `messages`, which `paths` name. Raises RefusedByAdapter."""
        if not isinstance(messages, list):
            raise bad_field("messages", "`messages` must be a list of messages.")
        for message, path in zip(messages, paths, strict=True):
            self._add(as_object(message), path)
        self.turns = join_turns(self.turns, text_block)
        trim_end(self.turns)
        if not self.turns:
            raise bad_field(
                "messages", "Anthropic needs at least one message of the user that is not empty; add one to `messages`."
            )

    @property
    def messages(self) -> list[JsonObject]:
        """The messages of the request."""
        return [{"role": turn.role, "content": turn.blocks} for turn in self.turns]

    @property
    def prefilled(self) -> str | None:
        """The path of an assistant's text that the answer is to continue, if the conversation ends with one.

        A turn that Anthropic itself interrupted, to be continued, holds blocks of its tools as well.
        """
        last = self.turns[-1]
        is_text = all(block["type"] in ("text", "thinking", "redacted_thinking") for block in last.blocks)
        return last.path if last.role == "assistant" and is_text else None

    @property
    def calls_without_thinking(self) -> bool:
        """Whether a tool loop is under way whose first call has no thinking before it."""
        loop: list[Turn] = []
        for turn in reversed(self.turns):
            if turn.role == "user" and turn.blocks[0]["type"] != "tool_result":
                break
            loop.append(turn)
        first = loop[-1] if loop else None
        return (
            first is not None
            and first.role == "assistant"
            and "thinking" not in as_text(first.blocks[0]["type"])
            and any(block["type"] == "tool_use" for block in first.blocks)
        )

    def declare_called_tools(self) -> JsonObject:
        """Return `tools` that declare what earlier turns called, none to be called now: calls may not stand without them."""
        blocks = [block for turn in self.turns for block in turn.blocks]
        names = dict.fromkeys(as_text(block.get("name")) for block in blocks if block["type"] == "tool_use")
        tools = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in names]
        return {"tools": tools, "tool_choice": {"type": "none"}} if tools else {}

    def _add(self, message: JsonObject, field: str) -> None:
        role = message.get("role")
        if role != "assistant":
            self._check_fields(message, field)
        content = message.get("content")
        if role in ("system", "developer"):
            self.system += _with_cache_control(
                message, self._content.translate(content, f"{field}.content", text_only=True)
            )
        elif role == "user":
            self._append(
                "user", field, _with_cache_control(message, self._content.translate(content, f"{field}.content"))
            )
        elif role == "tool":
            self._append("user", field, _with_cache_control(message, [self._build_tool_result(message, field)]))
        elif role == "assistant":
            self._append(
                "assistant", field, _with_cache_control(message, assistant_blocks(message, field, self._unsupported))
            )
        else:
            raise bad_field(f"{field}.role", f"Anthropic knows no role {role!r}; use system, user, assistant or tool.")

    def _check_fields(self, message: JsonObject, field: str) -> None:
        for name, value in message.items():
            # A tool result's name repeats that of its call.
            if value is None or (name in _KNOWN and (name != "name" or message.get("role") == "tool")):
                continue
            self._unsupported.drop_or_reject(f"{field}.{name}", f"Anthropic's messages have no `{name}`.")

    def _build_tool_result(self, message: JsonObject, field: str) -> JsonObject:
        call_id = as_text(message.get("tool_call_id"))
        if not call_id:
            raise bad_field(f"{field}.tool_call_id", f"`{field}` does not say which tool call it answers.")
        block: JsonObject = {"type": "tool_result", "tool_use_id": call_id}
        content = self._content.translate(message.get("content"), f"{field}.content")
        if content:
            block["content"] = content
        return block

    def _append(self, role: str, path: str, blocks: list[JsonObject]) -> None:
        self.turns.append(Turn(role, blocks, path))


def _with_cache_control(message: JsonObject, blocks: list[JsonObject]) -> list[JsonObject]:
    """Return `blocks` with the message's own `cache_control`, if any, on the last one, where a cached prefix ends."""
    if message.get("cache_control") is not None and blocks and "thinking" not in as_text(blocks[-1].get("type")):
        blocks[-1] = {"cache_control": message["cache_control"], **blocks[-1]}
    return blocks
