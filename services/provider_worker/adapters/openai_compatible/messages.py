"""Fits the messages of a chat to what one OpenAI-compatible provider takes."""

from collections.abc import Iterable

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_compatible.message_rules import ECHOED, MessageRules, ReasoningForm
from services.provider_worker.adapters.openai_format.placeholders import (
    BETWEEN,
    CONVERSATION_START,
    EMPTY_MESSAGE,
    EMPTY_RESULT,
)
from services.provider_worker.adapters.openai_format.prepared import THINKING_PARTS, DropOrReject
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, as_text, render

_CORE = frozenset({"role", "content", "tool_calls", "tool_call_id"})
_PLAIN = _CORE - {"tool_calls"}
_CALL_FIELDS = frozenset({"id", "type", "function", "custom", "cache_control"})
_INSTEAD_OF_TEXT = frozenset({"tool_calls", "audio", "function_call", "refusal"})
"""What an assistant's message may hold without any content."""
_OWN_CALL_FIELDS = frozenset({"index", "provider_specific_fields"})
_REASONING = frozenset({"reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "content_parts"})
_OWN = frozenset({"content_parts", "thinking_blocks", "provider_specific_fields"})
"""What this gateway, or another, adds to an answer and no server takes."""
_OPENROUTER_FORMATS = frozenset(
    {
        "unknown", "openai-responses-v1", "azure-openai-responses-v1", "xai-responses-v1", "anthropic-claude-v1",
        "google-gemini-v1",
    }
)  # fmt: skip
"""Source: OpenRouter's documentation, "Reasoning tokens", `reasoning_details[].format`."""


class MessageFitter:
    """Fits messages for one request."""

    def __init__(self, rules: MessageRules, model: str, *, thinks: bool, drop_or_reject: DropOrReject) -> None:
        self._rules = rules
        self._takes_reasoning = rules.reasoning_models is None or bool(rules.reasoning_models.search(model))
        self._thinks = thinks
        self._drop_or_reject = drop_or_reject

    def fit(self, messages: list[object], paths: Iterable[str]) -> list[object]:
        """Return the messages to send; the same list if nothing changes. Raises RefusedByAdapter."""
        fitted: list[tuple[str, object]] = []
        for message, path in zip(messages, paths, strict=True):
            kept = self._fit_message(message, path) if isinstance(message, dict) else message
            if kept is not None:
                fitted.append((path, kept))
        self._order(fitted)
        sent = [message for _, message in fitted]
        return messages if sent == messages else sent

    def _fit_message(self, message: JsonObject, path: str) -> JsonObject | None:
        """Return the message within the rules, or null if it says nothing at all."""
        if message.keys() <= _PLAIN:
            content = message.get("content")
            if isinstance(content, str) and content and not content.isspace():
                return message
        kept = self._fit_fields(message, path)
        role = message.get("role")
        if "tool_calls" in kept:
            kept = self._fit_calls(kept)
        if role == "assistant" and not _is_filled(kept.get("content")):
            kept = self._with_spoken_text(kept, message)
        kept = self._fit_content(kept, path)
        if role in ("system", "developer") and self._rules.closed and not _is_filled(kept.get("content")):
            return None
        if role == "assistant":
            kept = self._with_reasoning(kept, message)
            says_nothing = not kept.keys() & _INSTEAD_OF_TEXT
            if self._rules.closed and says_nothing and not _is_filled(kept.get("content")):
                return None
        return kept

    # --- fields

    def _fit_calls(self, kept: JsonObject) -> JsonObject:
        calls = kept["tool_calls"]
        if not calls or not isinstance(calls, list):
            return _without(kept, "tool_calls")
        cleaned: list[object] = [_clean_call(call, closed=self._rules.closed) for call in calls]
        return kept if cleaned == calls else {**kept, "tool_calls": cleaned}

    def _fit_fields(self, message: JsonObject, path: str) -> JsonObject:
        role = as_text(message.get("role"))
        if message.keys() <= _CORE:
            return message
        rules, kept = self._rules, JsonObject()
        for name, value in message.items():
            if name in _CORE:
                kept[name] = value
            elif name in _REASONING and name not in rules.fields:
                continue
            elif name == "name":
                if value is not None and self._takes_name(value, role, path):
                    kept[name] = value
            elif self._takes_field(name, value, role, path):
                kept[name] = {"id": as_object(value).get("id")} if name == "audio" and rules.closed else value
        return message if kept == message else kept

    def _takes_field(self, name: str, value: object, role: str, path: str) -> bool:
        if value is None:
            return False
        if name in self._rules.fields:
            return True
        if not self._rules.closed:
            return role != "assistant" or name not in ECHOED | _OWN
        if name not in ECHOED or role != "assistant":
            self._drop_or_reject(f"{path}.{name}", "Its messages have no such field.")
        return False

    def _takes_name(self, value: object, role: str, path: str) -> bool:
        rules = self._rules
        if not rules.closed or role in rules.named_roles:
            if rules.name is None or (isinstance(value, str) and rules.name.fullmatch(value)):
                return True
        elif role == "tool":
            # It repeats the name of the call.
            return False
        self._drop_or_reject(f"{path}.name", "Put the name into the text.")
        return False

    # --- content

    def _with_spoken_text(self, kept: JsonObject, message: JsonObject) -> JsonObject:
        """Return the message with what the assistant said elsewhere than in `content`, if that field is not taken."""
        refusal = as_text(message.get("refusal"))
        spoken = as_text(as_object(message.get("audio")).get("transcript")) if "audio" not in kept else ""
        text = refusal if refusal and "refusal" not in kept else spoken
        return {**kept, "content": text} if text else kept

    def _fit_content(self, kept: JsonObject, path: str) -> JsonObject:
        content, role = kept.get("content"), as_text(kept.get("role"))
        if isinstance(content, list):
            content = self._fit_parts(content, role, path)
        if not self._rules.closed and content is None and role != "assistant":
            # "invalid message content type": no server needs a null here, and some do not take one.
            content = ""
        if self._rules.closed and not _is_filled(content):
            content = self._fill(content, role, has_calls=bool(kept.keys() & _INSTEAD_OF_TEXT))
        if content is kept.get("content") and "content" in kept:
            return kept
        return {**kept, "content": content}

    def _fit_parts(self, parts: list[object], role: str, path: str) -> object:
        rules = self._rules
        if not rules.closed and rules.media_roles is None:
            return parts
        for position, part in enumerate(parts):
            kind = as_object(part).get("type")
            if rules.media_roles is not None and role not in rules.media_roles and kind not in _TEXT_PARTS:
                field = f"{path}.content[{position}]"
                raise bad_request(f"`{field}` must be text: in messages of role {role} no media are possible.", field)
        kept = [self._fit_refusal(part) for part in parts if not _is_blank_text(part) and self._takes_thinking(part)]
        texts = [as_text(part if isinstance(part, str) else as_object(part).get("text")) for part in kept]
        only_text = all(isinstance(part, str) or as_object(part).get("type") == "text" for part in kept)
        if not kept or (only_text and rules.joins_text and not any("cache_control" in as_object(p) for p in kept)):
            return "\n".join(texts)
        return parts if kept == parts else kept

    def _takes_thinking(self, part: object) -> bool:
        """Return whether a part is no thinking, or thinking in the provider's own form."""
        if as_text(as_object(part).get("type")) not in THINKING_PARTS:
            return True
        own = self._rules.reasoning is ReasoningForm.CHUNKS and self._takes_reasoning
        return own and isinstance(as_object(part).get("thinking"), list)

    def _fit_refusal(self, part: object) -> object:
        if as_object(part).get("type") != "refusal" or "refusal" in self._rules.fields:
            return part
        return {"type": "text", "text": as_text(as_object(part).get("refusal"))}

    def _fill(self, content: object, role: str, *, has_calls: bool) -> object:
        """Return what to send in place of an empty content."""
        if role == "assistant":
            blank_is_text = isinstance(content, str) and not self._rules.needs_text
            return content if blank_is_text else None if has_calls else ""
        if not self._rules.needs_text or role in ("system", "developer"):
            return content or ""
        return EMPTY_RESULT if role == "tool" else EMPTY_MESSAGE

    # --- thinking

    def _with_reasoning(self, kept: JsonObject, message: JsonObject) -> JsonObject:
        form = self._rules.reasoning if self._takes_reasoning else ReasoningForm.NONE
        if form is ReasoningForm.NONE:
            return kept
        reasoning, content = as_text(message.get("reasoning")), as_text(message.get("reasoning_content"))
        match form:
            case ReasoningForm.CONTENT:
                return self._with_reasoning_content(kept, content or reasoning)
            case ReasoningForm.PLAIN:
                return {**kept, "reasoning": reasoning or content} if reasoning or content else kept
            case ReasoningForm.DETAILS:
                return {**kept, **_openrouter_reasoning(message)}
            case ReasoningForm.CHUNKS:
                return _with_chunks(kept, content)
            case ReasoningForm.UNKNOWN:
                theirs = {name: value for name, value in message.items() if name in _REASONING - _OWN and value}
                if content and content == reasoning:
                    # The copy that this gateway put beside the server's own field.
                    del theirs["reasoning_content"]
                theirs.pop("reasoning_details", None)
                return {**kept, **theirs}

    def _with_reasoning_content(self, kept: JsonObject, text: str) -> JsonObject:
        if not self._rules.reasoning_in_tool_turns:
            return {**kept, "reasoning_content": text} if text else kept
        if "tool_calls" in kept and (text or self._thinks):
            return {**kept, "reasoning_content": text}
        return kept

    # --- order

    def _order(self, fitted: list[tuple[str, object]]) -> None:
        if self._rules.system_first:
            fitted.sort(key=lambda entry: not _is_instruction(entry[1]))
            if not fitted or _is_instruction(fitted[-1][1]):
                raise bad_request("`messages` must hold a message of the user, beside the system's.", "messages")
        if self._rules.needs_text:
            _leave_out_empty(fitted)
        if self._rules.assistant_after_tools:
            _insert_assistant(fitted)
        if self._rules.alternates:
            _alternate(fitted)
        last = as_object(fitted[-1][1]) if fitted else {}
        if last.get("role") == "assistant" and self._rules.marks_prefix and not last.get("tool_calls"):
            fitted[-1] = (fitted[-1][0], {**last, "prefix": True})


_TEXT_PARTS = ("text", "refusal", "thinking", None)


def _is_instruction(message: object) -> bool:
    return as_object(message).get("role") in ("system", "developer")


def _leave_out_empty(fitted: list[tuple[str, object]]) -> None:
    """Leave out empty messages of the user beside others of the user, where they say nothing."""
    position = 0
    while position < len(fitted):
        around = [as_object(message).get("role") for _, message in fitted[max(position - 1, 0) : position + 2]]
        here = as_object(fitted[position][1])
        if here.get("content") == EMPTY_MESSAGE and here.get("role") == "user" and around.count("user") > 1:
            del fitted[position]
        else:
            position += 1


def _is_filled(content: object) -> bool:
    return bool(content) and not (isinstance(content, str) and content.isspace())


def _is_blank_text(part: object) -> bool:
    if isinstance(part, str):
        return not part.strip()
    fields = as_object(part)
    return fields.get("type") == "text" and not as_text(fields.get("text")).strip()


def _without(fields: JsonObject, name: str) -> JsonObject:
    return {key: value for key, value in fields.items() if key != name}


def _clean_call(call: object, *, closed: bool) -> object:
    """Return a tool call with OpenAI's fields, and with arguments that are a JSON text.

    Servers with open schemas get the fields that they may have sent themselves, such as Google's signatures.
    """
    if not isinstance(call, dict):
        return call
    if not closed:
        return (
            {name: value for name, value in call.items() if name not in _OWN_CALL_FIELDS}
            if (call.keys() & _OWN_CALL_FIELDS)
            else call
        )
    function = call.get("function")
    changes: JsonObject = {}
    if isinstance(function, dict):
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = render(arguments).decode()
        elif arguments is None or (isinstance(arguments, str) and not arguments.strip()):
            arguments = "{}"
        plain: JsonObject = {"name": function.get("name"), "arguments": arguments}
        if plain != function:
            changes["function"] = plain
    if not call.get("type"):
        changes["type"] = "custom" if "custom" in call else "function"
    if not changes and call.keys() <= _CALL_FIELDS:
        return call
    return {**{name: value for name, value in call.items() if name in _CALL_FIELDS}, **changes}


def _openrouter_reasoning(message: JsonObject) -> JsonObject:
    details = [
        entry
        for entry in as_objects(message.get("reasoning_details"))
        if entry.get("format") is None or entry.get("format") in _OPENROUTER_FORMATS
    ]
    if details:
        return {"reasoning_details": details}
    text = as_text(message.get("reasoning")) or as_text(message.get("reasoning_content"))
    return {"reasoning": text} if text else {}


def _with_chunks(kept: JsonObject, text: str) -> JsonObject:
    """Return the message with its thinking before its text, as Mistral's reasoning models write it."""
    if not text:
        return kept
    content = kept.get("content")
    rest: list[object] = content if isinstance(content, list) else []
    if isinstance(content, str) and content:
        rest = [{"type": "text", "text": content}]
    return {**kept, "content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}, *rest]}


def _insert_assistant(fitted: list[tuple[str, object]]) -> None:
    for position in range(len(fitted) - 1, 0, -1):
        before, here = as_object(fitted[position - 1][1]), as_object(fitted[position][1])
        if before.get("role") == "tool" and here.get("role") not in ("tool", "assistant"):
            fitted.insert(position, (fitted[position][0], {"role": "assistant", "content": BETWEEN}))


def _alternate(fitted: list[tuple[str, object]]) -> None:
    """Join neighbours of one role behind the instructions, and put the user before the assistant.

    Raises RefusedByAdapter if the assistant is last.
    """
    first = sum(_is_instruction(message) for _, message in fitted)
    system, others = fitted[:first], fitted[first:]
    joined: list[tuple[str, object]] = []
    for path, message in others:
        fields, last = as_object(message), as_object(joined[-1][1]) if joined else {}
        if joined and last.get("role") == fields.get("role") and fields.get("role") in ("user", "assistant"):
            both = {**last, **fields, "content": _join_contents(last.get("content"), fields.get("content"))}
            joined[-1] = (path, both)
        else:
            joined.append((path, message))
    if joined and as_object(joined[0][1]).get("role") == "assistant":
        joined.insert(0, (joined[0][0], {"role": "user", "content": CONVERSATION_START}))
    if joined and as_object(joined[-1][1]).get("role") == "assistant":
        path = joined[-1][0]
        raise bad_request(f"This provider continues no answer: end `messages` before `{path}`.", path)
    fitted[:] = [*system, *joined]


def _join_contents(first: object, second: object) -> object:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_as_parts(first), *_as_parts(second)]


def _as_parts(content: object) -> list[object]:
    if isinstance(content, list):
        return list(content)
    return [{"type": "text", "text": content}] if content else []
