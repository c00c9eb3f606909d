"""Translates `functions` and `function_call`, the older form of tools, to tools, and the answer back. Pure.

Source: the OpenAI API reference, "Create chat completion", where both are deprecated. Few providers but OpenAI know them;
others ignore them, and the model never learns of the caller's functions.
"""

from collections.abc import Mapping

from services.provider_worker.adapters.adapter import AnswerReader, bad_request
from services.provider_worker.adapters.openai_format.rewritten_answer import RewrittenAnswerReader
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    as_objects,
    as_text,
)

FUNCTIONS_NOTE = "functions"
"""The note of a request whose answer has to call functions in the older form."""


def holds_functions(document: JsonObject) -> bool:
    """Return whether a chat uses the older form anywhere."""
    if "functions" in document or "function_call" in document:
        return True
    messages = document.get("messages")
    return isinstance(messages, list) and any(
        isinstance(message, dict) and (message.get("function_call") or message.get("role") == "function")
        for message in messages
    )


def translate_functions(document: JsonObject) -> JsonObject:
    """Return the chat with tools. Raises RefusedByAdapter if it has both forms, or one that has no meaning."""
    translated = {name: value for name, value in document.items() if name not in ("functions", "function_call")}
    functions, choice = document.get("functions"), document.get("function_call")
    if functions:
        if document.get("tools"):
            raise bad_request("`functions` is the older form of `tools`; send either.", "functions")
        if not isinstance(functions, list) or not all(isinstance(function, dict) for function in functions):
            raise bad_request("`functions` must be a list of objects.", "functions")
        translated["tools"] = [{"type": "function", "function": function} for function in functions]
        if choice is not None:
            translated["tool_choice"] = _translate_choice(choice, functions)
    elif choice not in (None, "auto", "none"):
        raise bad_request("`function_call` asks for a call, and there are no `functions`; add them.", "function_call")
    if isinstance(document.get("messages"), list):
        translated["messages"] = _translate_messages(document["messages"])
    return translated


def _translate_choice(choice: object, functions: list[object]) -> object:
    if choice in ("auto", "none"):
        return choice
    name = as_text(as_object(choice).get("name"))
    if not name or name not in {as_object(function).get("name") for function in functions}:
        raise bad_request("`function_call` must be `auto`, `none`, or name one of `functions`.", "function_call")
    return {"type": "function", "function": {"name": name}}


def _translate_messages(messages: object) -> list[object]:
    translated: list[object] = []
    waiting: dict[str, str] = {}
    """Names of called functions -> the id of the call whose result has not come."""
    assert isinstance(messages, list)
    for position, message in enumerate(messages):
        fields = as_object(message)
        call = as_object(fields.get("function_call"))
        path = f"messages[{position}]"
        if call and fields.get("tool_calls"):
            raise bad_request(f"`{path}` has `function_call` and `tool_calls`; send either.", f"{path}.function_call")
        if call:
            waiting[as_text(call.get("name"))] = call_id = f"call_{position}"
            kept = {name: value for name, value in fields.items() if name != "function_call"}
            translated.append({**kept, "tool_calls": [{"id": call_id, "type": "function", "function": call}]})
        elif fields.get("role") == "function":
            called = waiting.pop(as_text(fields.get("name")), None)
            if called is None:
                raise bad_request(f"`{path}` is the result of no `function_call` before it.", f"{path}.name")
            translated.append({"role": "tool", "tool_call_id": called, "content": fields.get("content")})
        elif "function_call" in fields:
            translated.append({name: value for name, value in fields.items() if name != "function_call"})
        else:
            translated.append(message)
    return translated


def restore_functions(reader: AnswerReader, notes: Mapping[str, str]) -> AnswerReader:
    """Return `reader`, or one whose answer calls functions in the older form, if the request's notes say so."""
    return RewrittenAnswerReader(reader, _restore) if FUNCTIONS_NOTE in notes else reader


def _restore(document: JsonObject) -> bool:
    """Give calls the older form. Those after the first, which it cannot hold, stay tool calls."""
    for choice in as_objects(document.get("choices")):
        for name in ("message", "delta"):
            _restore_call(as_object(choice.get(name)))
        if choice.get("finish_reason") == "tool_calls":
            choice["finish_reason"] = "function_call"
    return True


def _restore_call(message: JsonObject) -> None:
    calls = as_objects(message.get("tool_calls"))
    first = [call for call in calls if call.get("index", 0) == 0][:1]
    if not first or not isinstance(first[0].get("function"), dict):
        return
    message["function_call"] = first[0]["function"]
    others = [call for call in calls if call is not first[0]]
    if others:
        message["tool_calls"] = others
    else:
        del message["tool_calls"]
