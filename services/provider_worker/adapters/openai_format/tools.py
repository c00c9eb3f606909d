"""The caller's tools, tool choice and response format.

Source of the shapes: the OpenAI API reference, "Create chat completion", `tools`, `tool_choice` and `response_format`.
"""

from dataclasses import dataclass

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `declared` is the caller's complete entry, for fields beside the function."""

    name: str
    description: str
    parameters: JsonObject
    strict: bool
    declared: JsonObject


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`mode` is `auto`, `none`, `required` or `function`; `name` is the function that has to be called."""

    mode: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """A JSON answer: any object if `schema` is null."""

    schema: JsonObject | None = None
    name: str = ""
    description: str = ""


def read_tools(fields: CallerFields) -> list[Tool]:
    """Return the functions. Raises RefusedByAdapter for other tools, unless they may be dropped."""
    declared = fields.take("tools") or []
    if not isinstance(declared, list):
        raise bad_request("`tools` must be a list.", "tools")
    tools: list[Tool] = []
    for position, entry in enumerate(declared):
        path = f"tools[{position}]"
        function = as_object(as_object(entry).get("function"))
        if not isinstance(entry, dict) or entry.get("type", "function") != "function":
            fields.drop_or_reject(path, f"{fields.provider} supports only functions as tools; `{path}` is not one.")
        elif not as_text(function.get("name")):
            raise bad_request(f"`{path}.function` must have a name.", f"{path}.function.name")
        else:
            tools.append(_read_tool(entry, function))
    return tools


def _read_tool(entry: JsonObject, function: JsonObject) -> Tool:
    return Tool(
        name=as_text(function.get("name")),
        description=as_text(function.get("description")),
        parameters=as_object(function.get("parameters")) or {"type": "object", "properties": {}},
        strict=function.get("strict") is True,
        declared=entry,
    )


def read_tool_choice(fields: CallerFields, tools: list[Tool]) -> ToolChoice:
    """Return the requested tool choice.

    Raises RefusedByAdapter for forms other than OpenAI's four, and for a function that is not among the tools.
    """
    choice = fields.take("tool_choice")
    if choice is None or choice == "auto":
        return ToolChoice("auto")
    if choice in ("none", "required"):
        if choice == "required" and not tools:
            raise bad_request("`tool_choice` is `required` and there are no `tools`.", "tool_choice")
        return ToolChoice(str(choice))
    entry = as_object(choice)
    name = as_text(as_object(entry.get("function")).get("name"))
    if entry.get("type") != "function" or not name:
        fields.drop_or_reject(
            "tool_choice", f"{fields.provider} supports `auto`, `none`, `required` or one function as `tool_choice`."
        )
        return ToolChoice("auto")
    if name not in {tool.name for tool in tools}:
        raise bad_request("`tool_choice` names a function that is not among the `tools`.", "tool_choice")
    return ToolChoice("function", name)


def read_response_format(fields: CallerFields) -> ResponseFormat | None:
    """Return the requested JSON format, or null for plain text.

    Raises RefusedByAdapter for forms other than OpenAI's.
    """
    requested = fields.take("response_format")
    if requested is None or as_object(requested).get("type") == "text":
        return None
    kind = as_object(requested).get("type")
    if kind == "json_object":
        return ResponseFormat()
    schema = as_object(as_object(requested).get("json_schema"))
    if kind != "json_schema" or not isinstance(schema.get("schema"), dict):
        raise bad_request(
            "`response_format` must be of type `text`, `json_object`, or `json_schema` with a `json_schema.schema`.",
            "response_format",
        )
    return ResponseFormat(as_object(schema["schema"]), as_text(schema.get("name")), as_text(schema.get("description")))
