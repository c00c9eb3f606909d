"""Translates the messages of an OpenAI request to Gemini's `contents` and `systemInstruction`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.provider_worker.adapters.gemini.candidates import SIGNATURE_FORMAT
from services.provider_worker.adapters.gemini.content import (
    MediaRules,
    is_blank,
    read_text,
    read_texts,
    translate_parts,
)
from services.provider_worker.adapters.gemini.models import needs_signatures
from services.provider_worker.adapters.gemini.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.openai_format.placeholders import EMPTY_RESULT
from services.provider_worker.adapters.openai_format.turns import Turn, join_turns
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    as_objects,
    as_text,
    parse_object,
)

NO_SIGNATURE = "skip_thought_signature_validator"
"""Google's placeholder for calls that another model made: Gemini 3 rejects a call without any signature."""


@dataclass(slots=True)
class Conversation:
    """The translated messages."""

    turns: list[Turn] = field(default_factory=list)
    system: list[JsonObject] = field(default_factory=list)
    """Parts of the system instruction. Gemini has one, before everything; later system messages join it in order."""

    @property
    def contents(self) -> list[JsonObject]:
        """The contents of the request."""
        return [{"role": "model" if turn.role == "assistant" else "user", "parts": turn.blocks} for turn in self.turns]


class ConversationTranslator:
    """Translates messages to contents, one after the other."""

    def __init__(self, model: str, rules: MediaRules, unsupported: UnsupportedFields) -> None:
        self.conversation = Conversation()
        self._model = model
        self._rules = rules
        self._unsupported = unsupported
        self._names: dict[str, str] = {}
        """Call id -> function name: Gemini wants the name with the result."""
        self._results: list[JsonObject] | None = None
        """Parts of the content that collects tool results: Gemini wants those of one turn together."""

    def read(self, messages: object, paths: Sequence[str]) -> Conversation:
        """Return the conversation of `messages`, which `paths` name. Raises RefusedByAdapter."""
        if not isinstance(messages, list) or not messages:
            raise bad_field("messages", "it must be a list of at least one message.")
        for message, path in zip(messages, paths, strict=True):
            self._read(as_object(message), path)
        self.conversation.turns = join_turns(self.conversation.turns, lambda text: {"text": text})
        if not self.conversation.turns:
            raise bad_field("messages", "it must hold a message that is not empty, beside the system's.")
        return self.conversation

    def _read(self, message: JsonObject, param: str) -> None:
        role = message.get("role")
        if role != "tool":
            self._results = None
        if message.get("name") and role != "tool":
            self._unsupported.drop_or_reject(f"{param}.name", "messages have no names; put the name into the text.")
        match role:
            case "system" | "developer":
                texts = read_texts(message.get("content"), f"{param}.content")
                self.conversation.system += [{"text": text} for text in texts if text.strip()]
            case "user":
                content = message.get("content")
                parts = [] if content is None else translate_parts(content, f"{param}.content", self._rules)
                self._add("user", param, [part for part in parts if not is_blank(part)])
            case "assistant":
                self._add_assistant(message, param)
            case "tool":
                self._add_tool_result(message, param)
            case _:
                raise bad_field(f"{param}.role", "it must be system, developer, user, assistant or tool.")

    def _add(self, role: str, param: str, parts: list[JsonObject], *, alone: bool = False) -> None:
        self.conversation.turns.append(Turn(role, parts, param, alone))

    def _add_assistant(self, message: JsonObject, param: str) -> None:
        for name in ("function_call", "audio"):
            if message.get(name):
                self._unsupported.drop_or_reject(f"{param}.{name}", "send tool_calls, and what was said as text.")
        # `reasoning_content` is not sent back: Gemini uses its signatures, and summaries are for people.
        details = [
            detail
            for detail in as_objects(message.get("reasoning_details"))
            if detail.get("format") == SIGNATURE_FORMAT
        ]
        text = read_text(message.get("content"), f"{param}.content") or as_text(message.get("refusal"))
        parts = [part for part in _thought_parts(details) + _signed_text_parts(text, details) if not is_blank(part)]
        calls = message.get("tool_calls")
        if calls is not None and not isinstance(calls, list):
            raise bad_field(f"{param}.tool_calls", "it must be a list.")
        call_parts = [
            self._build_call(as_object(call), f"{param}.tool_calls[{position}]", details)
            for position, call in enumerate(calls or [])
        ]
        if call_parts and needs_signatures(self._model):
            call_parts[0].setdefault("thoughtSignature", NO_SIGNATURE)
        parts += call_parts
        self._add("assistant", param, parts)

    def _build_call(self, call: JsonObject, param: str, details: list[JsonObject]) -> JsonObject:
        function, call_id = as_object(call.get("function")), as_text(call.get("id"))
        name, arguments = as_text(function.get("name")), function.get("arguments")
        if not name:
            raise bad_field(f"{param}.function.name", "a call names the function that was called.")
        args = {} if arguments in (None, "") else parse_object(as_text(arguments).encode("utf-8", "surrogatepass"))
        if args is None:
            raise bad_field(f"{param}.function.arguments", "it must be a JSON object, as text.")
        translated: JsonObject = {"name": name, "args": args}
        if call_id:
            self._names[call_id] = name
            if self._rules.takes_call_ids:
                translated["id"] = call_id
        google = as_object(as_object(call.get("extra_content")).get("google"))
        signature = as_text(google.get("thought_signature")) or next(
            (as_text(detail.get("data")) for detail in details if call_id and detail.get("id") == call_id), ""
        )
        part: JsonObject = {"functionCall": translated}
        return part | {"thoughtSignature": signature} if signature else part

    def _add_tool_result(self, message: JsonObject, param: str) -> None:
        call_id = as_text(message.get("tool_call_id"))
        name = self._names.get(call_id)
        if name is None:
            raise bad_field(
                f"{param}.tool_call_id", "no assistant message before this one has a tool call with this id."
            )
        result: JsonObject = {"id": call_id} if self._rules.takes_call_ids else {}
        result |= {"name": name, "response": {}}
        content = message.get("content")
        text = self._read_result(content, result, f"{param}.content") if isinstance(content, list) else content
        if text is not None and not isinstance(text, str):
            raise bad_field(f"{param}.content", "it must be a string or a list of parts.")
        document = parse_object((text or "").encode("utf-8", "surrogatepass"))
        # Google reads an object as the function's output; anything else goes under the key it documents for output.
        result["response"] = (
            {"output": text if text and text.strip() else EMPTY_RESULT} if document is None else document
        )
        if self._results is None:
            self._results = []
            # Its number of parts has to be that of the calls, so nothing else may join it.
            self._add("user", param, self._results, alone=True)
        self._results.append({"functionResponse": result})

    def _read_result(self, content: list[object], result: JsonObject, param: str) -> str:
        """Return the text of a result's parts; media goes into the result, which Gemini 3 supports."""
        media: list[JsonObject] = []
        texts: list[str] = []
        for part, position in zip(translate_parts(content, param, self._rules), range(len(content)), strict=True):
            if "text" in part:
                texts.append(as_text(part["text"]))
            elif "inlineData" in part and needs_signatures(self._model):
                media.append(part)
            else:
                raise bad_field(
                    f"{param}[{position}]", "results of tools may be text; Gemini 3 takes base64 images and PDFs too."
                )
        if media:
            result["parts"] = media
        return "".join(texts)


def _thought_parts(details: list[JsonObject]) -> list[JsonObject]:
    return [
        {"text": as_text(detail.get("text")), "thought": True, "thoughtSignature": as_text(detail.get("signature"))}
        for detail in details
        if detail.get("type") == "reasoning.text" and as_text(detail.get("signature"))
    ]


def _signed_text_parts(text: str, details: list[JsonObject]) -> list[JsonObject]:
    """Split `text` into Gemini's original parts: a signed part, which may be empty, is never joined with another."""
    parts: list[JsonObject] = []
    sent_until = 0
    for detail in details:
        start, end, signature = detail.get("content_start"), detail.get("content_end"), as_text(detail.get("data"))
        if not signature or not isinstance(start, int) or not isinstance(end, int):
            continue
        # A client may have shortened the text.
        start = min(max(start, sent_until), len(text))
        end = min(max(end, start), len(text))
        if start > sent_until:
            parts.append({"text": text[sent_until:start]})
        parts.append({"text": text[start:end], "thoughtSignature": signature})
        sent_until = end
    return [*parts, {"text": text[sent_until:]}] if sent_until < len(text) else parts
