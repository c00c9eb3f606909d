"""Fits values of parameters that a provider takes in part: stop sequences, ranges, ids of users, strict schemas."""

from services.provider_worker.adapters.openai_compatible.capabilities import ChatCapabilities
from services.provider_worker.adapters.openai_compatible.editor import RequestEditor
from services.provider_worker.adapters.openai_format.closed_schema import close_strictly
from services.provider_worker.adapters.openai_format.identifiers import hash_user_id
from services.provider_worker.adapters.openai_format.sampling import fit_stop
from services.provider_worker.adapters.response.json_text import JsonObject, as_object


def fit_values(editor: RequestEditor, chat: ChatCapabilities) -> None:
    """Fit values of parameters that the provider takes in part."""
    document = editor.document
    _fit_stop(editor, chat)
    for name, (least, most) in chat.ranges.items():
        value = document.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not least <= value <= most:
            editor.drop_or_reject(name, f"It has to be from {least} to {most}.")
            editor.remove(name)
    effort = document.get("reasoning_effort")
    if chat.efforts is not None and effort is not None and effort not in tuple(chat.efforts):
        editor.drop_or_reject("reasoning_effort", f"It has to be one of: {', '.join(sorted(chat.efforts))}.")
        editor.remove("reasoning_effort")
    if chat.user_id_characters is not None:
        _shorten_user_ids(editor, chat.user_id_characters)
    if not document.get("tools") and "parallel_tool_calls" in document and "parallel_tool_calls" not in chat.refused:
        # "'parallel_tool_calls' is only allowed when 'tools' are specified"; without them it asks for nothing.
        editor.remove("parallel_tool_calls")
    if chat.strict_schemas:
        _fit_strict_schemas(editor)


def _fit_stop(editor: RequestEditor, chat: ChatCapabilities) -> None:
    stop = editor.document.get("stop")
    if "stop" in editor.document and not stop:
        editor.remove("stop")
    if not stop or "stop" in chat.refused:
        return
    stops = fit_stop(stop if isinstance(stop, list) else [stop], chat.stops, editor.drop_or_reject)
    if not stops:
        editor.remove("stop")
    elif isinstance(stop, list) and stops != stop:
        editor.set("stop", stops)


def _shorten_user_ids(editor: RequestEditor, longest: int) -> None:
    for name in ("user", "safety_identifier", "prompt_cache_key"):
        value = editor.document.get(name)
        if isinstance(value, str) and len(value) > longest:
            editor.set(name, hash_user_id(value)[:longest])


def _fit_strict_schemas(editor: RequestEditor) -> None:
    """Close the objects of schemas that are to be followed strictly."""
    requested = as_object(editor.document.get("response_format"))
    schema = as_object(requested.get("json_schema"))
    fitted = _fit_strict(editor, schema, "schema", "response_format.json_schema")
    if fitted is not schema:
        editor.set("response_format", {**requested, "json_schema": fitted})
    tools = editor.document.get("tools")
    if not isinstance(tools, list):
        return
    changed = list(tools)
    for position, tool in enumerate(tools):
        function = as_object(as_object(tool).get("function"))
        fitted = _fit_strict(editor, function, "parameters", f"tools[{position}].function")
        if fitted is not function:
            changed[position] = {**as_object(tool), "function": fitted}
    if any(a is not b for a, b in zip(changed, tools, strict=True)):
        editor.set("tools", changed)


def _fit_strict(editor: RequestEditor, holder: JsonObject, name: str, path: str) -> JsonObject:
    if holder.get("strict") is not True or not isinstance(holder.get(name), dict):
        return holder
    closed = close_strictly(as_object(holder[name]))
    if closed is None:
        why = (
            "A strict schema closes every object and requires every property of it; make it so, or leave out `strict`."
        )
        editor.drop_or_reject(f"{path}.strict", why)
        return {**holder, "strict": False}
    return holder if closed == holder[name] else {**holder, name: closed}
