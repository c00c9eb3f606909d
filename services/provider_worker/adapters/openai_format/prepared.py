"""Prepares a caller's chat for a provider, before its adapter translates it, within the provider's own rules.

Tool results follow the turn of their call; ids and names are ones that the provider takes; a tool's schema is a plain
object; thinking that another provider returned is not sent back. The caller's own object is never changed. Pure.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_format.functions import (
    FUNCTIONS_NOTE,
    holds_functions,
    translate_functions,
)
from services.provider_worker.adapters.openai_format.identifiers import FUNCTION_NAME, IdentifierRule
from services.provider_worker.adapters.openai_format.placeholders import NO_RESULT
from services.provider_worker.adapters.openai_format.tool_results import (
    PairedMessages,
    calls_of,
    is_paired,
    pair_tool_results,
)
from services.provider_worker.adapters.openai_format.tool_schema import plain_root
from services.provider_worker.adapters.response.arguments import says_nothing
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, as_text, render

DropOrReject = Callable[[str, str], None]
"""Drops a field by its path, or raises RefusedByAdapter with the reason."""

TOOL_NAMES_NOTE = "tool_names"
"""The note that holds the caller's names of renamed functions, as JSON: the provider's name -> the caller's."""

THINKING_PARTS = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_text"})
"""Types of content parts by which providers return thinking. Those of another provider cannot be sent back."""


@dataclass(frozen=True, slots=True)
class ChatRules:
    """What a provider takes of a chat, beside what its adapter translates."""

    call_id: IdentifierRule | None = None
    """Null if any id will do."""
    function_name: IdentifierRule | None = FUNCTION_NAME
    schema_name: IdentifierRule | None = FUNCTION_NAME
    pairs_tool_results: bool = True
    plain_tool_schemas: bool = True
    """Whether a tool's schema has to be a plain object at its root, and a choice of tools needs tools."""
    needs_parameters: bool = False
    """Whether a function without parameters needs the schema of an empty object."""
    takes_cache_control: bool = False
    """Whether it knows Anthropic's `cache_control`."""
    takes_thinking_parts: bool = False
    """Whether an assistant's content may hold parts of `THINKING_PARTS`."""
    restores_thinking: bool = False
    """Whether signed thinking goes back, from whatever field other gateways and clients keep it in."""
    takes_functions: bool = False
    """Whether it knows `functions`, the older form of tools."""
    takes_audio: bool = False
    """Whether an assistant's message may be speech; else what was said is its text."""


@dataclass(frozen=True, slots=True)
class PreparedChat:
    """The chat to translate. `paths` name the messages as the caller numbered them."""

    document: JsonObject
    paths: list[str] = field(default_factory=list)
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def messages(self) -> object:
        """The messages, in the order to send."""
        return self.document.get("messages")


def prepare_chat(document: JsonObject, rules: ChatRules, drop_or_reject: DropOrReject) -> PreparedChat:
    """Return the chat within `rules`; the same document if nothing changes. Raises RefusedByAdapter."""
    if rules.takes_functions or not holds_functions(document):
        return _Preparer(document, rules, drop_or_reject).prepare()
    prepared = _Preparer(translate_functions(document), rules, drop_or_reject).prepare()
    # A caller that sends `tools` reads tool calls, whatever its earlier messages hold.
    return replace(prepared, notes={**prepared.notes, FUNCTIONS_NOTE: "1"}) if document.get("functions") else prepared


def _thinking_detail(part: JsonObject) -> JsonObject | None:
    """Return a part of signed thinking in the form of `reasoning_details`, or null for any other part."""
    if part.get("type") == "thinking" and as_text(part.get("signature")):
        return {"type": "reasoning.text", "text": as_text(part.get("thinking")), "signature": part["signature"]}
    if part.get("type") == "redacted_thinking" and as_text(part.get("data")):
        return {"type": "reasoning.encrypted", "data": part["data"]}
    return None


def _render_arguments(arguments: JsonObject, path: str) -> str:
    try:
        return render(arguments).decode()
    except ValueError:
        field = f"{path}.function.arguments"
        raise bad_request(f"`{field}` is nested too deeply.", field) from None


class _Preparer:
    """One chat."""

    def __init__(self, document: JsonObject, rules: ChatRules, drop_or_reject: DropOrReject) -> None:
        self._document = document
        self._rules = rules
        self._drop_or_reject = drop_or_reject
        self._names: dict[str, str] = {}
        """Changed function names: the provider's -> the caller's."""

    def prepare(self) -> PreparedChat:
        messages = self._document.get("messages")
        if not isinstance(messages, list):
            return PreparedChat(self._document)
        changes: JsonObject = {}
        paths = [f"messages[{position}]" for position in range(len(messages))]
        prepared = self._prepare_messages(messages, paths)
        if prepared != messages:
            changes["messages"] = prepared
        self._prepare_tools(changes)
        self._prepare_schema_name(changes)
        notes = {TOOL_NAMES_NOTE: json.dumps(self._names)} if self._names else {}
        removed = {name for name, value in changes.items() if value is None}
        if not changes:
            return PreparedChat(self._document, paths, notes)
        document = {name: value for name, value in (self._document | changes).items() if name not in removed}
        return PreparedChat(document, paths, notes)

    # --- messages

    def _prepare_messages(self, messages: list[object], paths: list[str]) -> list[object]:
        """Return the messages to send; `paths` is put into their order."""
        if not self._rules.pairs_tool_results or is_paired(messages, self._rules.call_id):
            return [self._prepare_message(message, path) for message, path in zip(messages, paths, strict=True)]
        paired = pair_tool_results(messages)
        ids = self._choose_call_ids(messages, paired)
        originals, paths[:] = list(paths), []
        prepared: list[object] = []
        for place in paired.order:
            if isinstance(place, int):
                message = self._prepare_message(messages[place], originals[place])
                prepared.append(self._with_call_ids(message, place, ids))
                paths.append(originals[place])
            else:
                prepared.append({"role": "tool", "tool_call_id": ids[place], "content": NO_RESULT})
                paths.append(f"{originals[place[0]]}.tool_calls[{place[1]}]")
        return prepared

    def _choose_call_ids(self, messages: list[object], paired: PairedMessages) -> dict[tuple[int, int], str]:
        """Return the id to send with every call and every result (number -1), each call's different from the others'."""
        rule, taken = self._rules.call_id, set[str]()
        ids: dict[tuple[int, int], str] = {}
        for position, message in enumerate(messages):
            for number, call in enumerate(calls_of(message)):
                asked = as_text(call.get("id"))
                chosen, again = rule.fit(asked) if rule is not None and asked else asked, 1
                while asked and chosen in taken:
                    # Some servers number the calls of every answer from zero.
                    again += 1
                    chosen = f"{asked}_{again}"
                    chosen = rule.fit(chosen) if rule is not None else chosen
                taken.add(chosen)
                ids[position, number] = chosen
        ids.update({(position, -1): ids[place] for position, place in paired.owners.items()})
        return ids

    def _with_call_ids(self, message: object, position: int, ids: dict[tuple[int, int], str]) -> object:
        fields = as_object(message)
        if fields.get("role") == "tool":
            chosen = ids[position, -1]
            return fields if fields["tool_call_id"] == chosen else {**fields, "tool_call_id": chosen}
        calls = calls_of(message)
        chosen_ids = [ids[position, number] for number in range(len(calls))]
        if all(as_text(call.get("id")) == chosen for call, chosen in zip(calls, chosen_ids, strict=True)):
            return message
        return {
            **fields,
            "tool_calls": [{**call, "id": chosen} for call, chosen in zip(calls, chosen_ids, strict=True)],
        }

    def _prepare_message(self, message: object, path: str) -> object:
        if not isinstance(message, dict):
            return message
        if message.get("role") == "assistant":
            message = self._prepare_answer(message)
        content = message.get("content")
        if not isinstance(content, list) and not message.get("tool_calls") and "cache_control" not in message:
            return message
        changes: JsonObject = {}
        if isinstance(content, list):
            parts = self._prepare_parts(content, path, is_assistant=message.get("role") == "assistant")
            if parts is not content:
                changes["content"] = parts
        calls = calls_of(message)
        named = [self._prepare_call(call, f"{path}.tool_calls[{number}]") for number, call in enumerate(calls)]
        if named != calls:
            changes["tool_calls"] = named
        kept = self._without_cache_control(message, path)
        return {**kept, **changes} if changes else kept

    def _prepare_answer(self, message: JsonObject) -> JsonObject:
        """Return an assistant's message with its speech as text and its signed thinking in `reasoning_details`."""
        if message.get("audio") and not self._rules.takes_audio and not message.get("content"):
            spoken = as_text(as_object(message["audio"]).get("transcript"))
            if spoken:
                message = {name: value for name, value in message.items() if name != "audio"} | {"content": spoken}
        if self._rules.restores_thinking and not message.get("reasoning_details"):
            parts = [*as_objects(message.get("thinking_blocks")), *as_objects(message.get("content"))]
            details = [detail for part in parts if (detail := _thinking_detail(part)) is not None]
            if details:
                message = {**message, "reasoning_details": details}
        return message

    def _prepare_parts(self, content: list[object], path: str, *, is_assistant: bool) -> list[object]:
        kept: list[object] = []
        for number, part in enumerate(content):
            if not isinstance(part, dict):
                kept.append(part)
                continue
            foreign = (
                is_assistant and not self._rules.takes_thinking_parts and as_text(part.get("type")) in THINKING_PARTS
            )
            if not foreign:
                kept.append(self._without_cache_control(part, f"{path}.content[{number}]"))
        return content if kept == content else kept

    def _without_cache_control(self, fields: JsonObject, path: str) -> JsonObject:
        if self._rules.takes_cache_control or "cache_control" not in fields:
            return fields
        if fields["cache_control"] is not None:
            self._drop_or_reject(f"{path}.cache_control", "it has no cache that a request marks the end of.")
        return {name: value for name, value in fields.items() if name != "cache_control"}

    def _prepare_call(self, call: JsonObject, path: str) -> JsonObject:
        kept = self._without_cache_control(call, path) if "cache_control" in call else call
        function = as_object(call.get("function"))
        asked, arguments = as_text(function.get("name")), function.get("arguments")
        changes: JsonObject = {}
        name = self._fit_name(asked)
        if name != asked:
            changes["name"] = name
        if isinstance(arguments, dict):
            changes["arguments"] = _render_arguments(arguments, path)
        elif function and (arguments is None or (isinstance(arguments, str) and says_nothing(arguments))):
            changes["arguments"] = "{}"
        return {**kept, "function": {**function, **changes}} if changes else kept

    def _fit_name(self, name: str) -> str:
        rule = self._rules.function_name
        if rule is None or not name or rule.takes(name):
            return name
        fitted = rule.fit(name)
        self._names[fitted] = name
        return fitted

    # --- tools and formats

    def _prepare_tools(self, changes: JsonObject) -> None:
        tools = self._document.get("tools")
        if not tools:
            self._prepare_without_tools(changes)
        if isinstance(tools, list) and tools:
            prepared = self._without_repetitions(
                [self._prepare_tool(tool, f"tools[{position}]") for position, tool in enumerate(tools)]
            )
            if prepared != tools:
                changes["tools"] = prepared
        choice = self._document.get("tool_choice")
        if isinstance(choice, dict):
            self._check_choice(choice, tools)
            prepared_choice = self._prepare_choice(choice)
            if prepared_choice != choice:
                changes["tool_choice"] = prepared_choice

    def _without_repetitions(self, tools: list[object]) -> list[object]:
        """Return the tools without repetitions, which most providers reject. Raises RefusedByAdapter for two of one name."""
        named: dict[str, object] = {}
        kept: list[object] = []
        for position, tool in enumerate(tools):
            name = as_text(as_object(as_object(tool).get("function")).get("name"))
            if name in named and named[name] == tool:
                continue
            if name in named:
                field = f"tools[{position}].function.name"
                raise bad_request(f"`{field}` is the name of another tool already; give each its own.", field)
            if name:
                named[name] = tool
            kept.append(tool)
        return kept

    def _prepare_without_tools(self, changes: JsonObject) -> None:
        """Leave out what is about tools where there are none: an empty list, a choice among nothing."""
        choice = self._document.get("tool_choice")
        if self._document.get("functions") or not self._rules.plain_tool_schemas:
            return
        if isinstance(choice, dict) or choice not in (None, "auto", "none"):
            raise bad_request("`tool_choice` asks for a tool call, and there are no `tools`; add them.", "tool_choice")
        changes.update({name: None for name in ("tools", "tool_choice") if name in self._document})

    def _prepare_tool(self, tool: object, path: str) -> object:
        if not isinstance(tool, dict):
            return tool
        kept = self._without_cache_control(tool, path)
        function = kept.get("function")
        if not isinstance(function, dict):
            return kept
        changes: JsonObject = {}
        name = self._fit_name(as_text(function.get("name")))
        if name != as_text(function.get("name")):
            changes["name"] = name
        schema = function.get("parameters")
        if self._rules.plain_tool_schemas and ("parameters" in function or self._rules.needs_parameters):
            if schema is not None and not isinstance(schema, dict):
                field = f"{path}.function.parameters"
                raise bad_request(f"`{field}` must be a JSON schema, which is an object.", field)
            plain = plain_root(schema or {"type": "object", "properties": {}})
            if plain is not schema:
                changes["parameters"] = plain
        return {**kept, "function": {**function, **changes}} if changes else kept

    def _check_choice(self, choice: JsonObject, tools: object) -> None:
        """Check that the function that has to be called is among the tools. Raises RefusedByAdapter."""
        name = as_text(as_object(choice.get("function")).get("name"))
        if not name or not self._rules.plain_tool_schemas or not isinstance(tools, list):
            return
        if name not in {as_object(as_object(tool).get("function")).get("name") for tool in tools}:
            raise bad_request("`tool_choice` names a function that is not among the `tools`.", "tool_choice")

    def _prepare_choice(self, choice: JsonObject) -> JsonObject:
        if isinstance(choice.get("function"), dict):
            return {**choice, "function": self._renamed(as_object(choice["function"]))}
        allowed = as_object(choice.get("allowed_tools"))
        tools = allowed.get("tools")
        if not isinstance(tools, list):
            return choice
        renamed = [
            {**tool, "function": self._renamed(as_object(tool["function"]))}
            if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
            else tool
            for tool in tools
        ]
        return {**choice, "allowed_tools": {**allowed, "tools": renamed}}

    def _renamed(self, function: JsonObject) -> JsonObject:
        return {**function, "name": self._fit_name(as_text(function.get("name")))} if "name" in function else function

    def _prepare_schema_name(self, changes: JsonObject) -> None:
        requested = as_object(self._document.get("response_format"))
        schema = as_object(requested.get("json_schema"))
        name, rule = as_text(schema.get("name")), self._rules.schema_name
        if name and rule is not None and not rule.takes(name):
            changes["response_format"] = {**requested, "json_schema": {**schema, "name": rule.fit(name)}}
