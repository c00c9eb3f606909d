"""Tools, tool choice, and the response format, which on older models is a tool as well.

Source: Anthropic's documentation of tool use and structured outputs. `json_schema` is native if the model has
structured outputs (Claude 4.5 and later). Otherwise, and for `json_object` on every model, the model has to call a tool
whose arguments are the answer; the response's reader turns them back into content. With `json_object` there is no
schema to enforce, and a tool's arguments are always a JSON object.
"""

import re

from services.provider_worker.adapters.anthropic.models import ClaudeModel
from services.provider_worker.adapters.anthropic.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.openai_format.closed_schema import OpenSchemaError, structured_output_schema
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text

_SERVER_TOOL = re.compile(r"[a-z][a-z0-9_]*_\d{8}")
"""Types of the tools that Anthropic runs or defines itself: they end in a date."""
_PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
"""Source: the API's error "input_schema.properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'"."""
_NO_ARGUMENTS: JsonObject = {"type": "object", "properties": {}}
_FREE_OBJECT: JsonObject = {"type": "object", "additionalProperties": True}


class ToolTranslator:
    """Fills `tools`, `tool_choice` and `output_config` of a request from OpenAI's fields.

    `json_tool` is the name of the tool whose arguments are the answer, if there is one.
    """

    def __init__(self, model: ClaudeModel, unsupported: UnsupportedFields) -> None:
        self.json_tool: str | None = None
        self.output_format: JsonObject | None = None
        self._model = model
        self._unsupported = unsupported
        self._tools: list[JsonObject] = []
        self._choice: JsonObject | None = None

    @property
    def forced(self) -> bool:
        """Whether the model has to call a tool."""
        return self._choice is not None and self._choice["type"] in ("any", "tool")

    def read(self, document: JsonObject) -> None:
        """Read OpenAI's `tools`, `tool_choice`, `parallel_tool_calls` and `response_format`.

        Raises RefusedByAdapter.
        """
        tools = document.get("tools") or []
        if not isinstance(tools, list):
            raise bad_field("tools", "`tools` must be a list of tools.")
        for position, tool in enumerate(tools):
            self._add_tool(as_object(tool), f"tools[{position}]")
        self._choose(document.get("tool_choice"))
        parallel = document.get("parallel_tool_calls")
        if parallel is False and self._tools and (self._choice or {}).get("type") != "none":
            self._choice = (self._choice or {"type": "auto"}) | {"disable_parallel_tool_use": True}
        self._read_format(document.get("response_format"))

    def fields(self) -> JsonObject:
        """Return the fields of Anthropic's request."""
        made: JsonObject = {}
        if self._tools:
            made["tools"] = self._tools
            if self._choice is not None:
                made["tool_choice"] = self._choice
        return made

    def _add_tool(self, tool: JsonObject, field: str) -> None:
        kind = as_text(tool.get("type")) or "function"
        if kind == "function":
            self._tools.append(self._translate_function(tool, as_object(tool.get("function")), field))
        elif _SERVER_TOOL.fullmatch(kind):
            self._tools.append(tool)
        else:
            self._unsupported.drop_or_reject(field, f"Anthropic has no tools of type {kind!r}.")

    def _translate_function(self, tool: JsonObject, function: JsonObject, field: str) -> JsonObject:
        name = as_text(function.get("name"))
        if not name:
            raise bad_field(f"{field}.function.name", f"`{field}` has no name.")
        parameters = as_object(function.get("parameters")) or _NO_ARGUMENTS
        _check_property_names(parameters, f"{field}.function.parameters")
        made: JsonObject = {"name": name, "input_schema": {"type": "object"} | parameters}
        if as_text(function.get("description")):
            made["description"] = function["description"]
        if function.get("strict") is True:
            if self._model.has_structured_outputs:
                made |= self._close(as_object(made["input_schema"]), f"{field}.function")
            else:
                self._unsupported.drop_or_reject(
                    f"{field}.function.strict", "This Claude model cannot be held to a tool's schema."
                )
        if tool.get("cache_control") is not None:
            made["cache_control"] = tool["cache_control"]
        return made

    def _close(self, schema: JsonObject, field: str) -> JsonObject:
        """Return the fields of a tool that is held to `schema`, or none if it cannot be."""
        try:
            return {"strict": True, "input_schema": _structured_output_schema(schema, f"{field}.parameters")}
        except OpenSchemaError as error:
            self._unsupported.drop_or_reject(f"{field}.strict", f"`{field}.parameters` {error}.")
            return {}

    def _choose(self, choice: object) -> None:
        kind = choice if isinstance(choice, str) else as_object(choice).get("type")
        if choice is None or (kind in ("auto", "none") and not self._tools):
            return
        if kind in ("auto", "none"):
            self._choice = {"type": kind}
            return
        if kind not in ("required", "function"):
            self._unsupported.drop_or_reject("tool_choice", f"Anthropic has no tool choice {kind!r}.")
            return
        if not self._tools:
            raise bad_field("tool_choice", "`tool_choice` asks for a tool call and there are no `tools`; add them.")
        if not self._model.takes_forced_tools:
            self._unsupported.drop_or_reject(
                "tool_choice", "This Claude model decides by itself whether to call a tool."
            )
            return
        if kind == "required":
            self._choice = {"type": "any"}
            return
        name = as_text(as_object(as_object(choice).get("function")).get("name"))
        if not name:
            raise bad_field("tool_choice.function.name", "`tool_choice` does not name the function to call.")
        self._choice = {"type": "tool", "name": name}

    def _read_format(self, response_format: object) -> None:
        kind = as_object(response_format).get("type")
        if response_format is None or kind == "text":
            return
        if kind == "json_object":
            self._answer_by_tool("Answers with one JSON object.", _FREE_OBJECT)
            return
        if kind != "json_schema":
            self._unsupported.drop_or_reject("response_format", f"Anthropic has no response format {kind!r}.")
            return
        requested = as_object(as_object(response_format).get("json_schema"))
        schema, field = as_object(requested.get("schema")), "response_format.json_schema.schema"
        if not schema:
            raise bad_field(field, f"`{field}` must be a JSON schema.")
        if self._model.has_structured_outputs and self._format_answer(schema, field):
            return
        if schema.get("type") != "object":
            raise bad_field(
                field, "This Claude model answers by schema with objects only; make the schema's type `object`."
            )
        self._answer_by_tool(as_text(requested.get("description")) or "Answers in the requested form.", schema)

    def _format_answer(self, schema: JsonObject, field: str) -> bool:
        """Have the answer held to `schema`; return whether it can be. A tool takes the schemas that it cannot be held to."""
        try:
            closed = _structured_output_schema(schema, field)
        except OpenSchemaError as error:
            if not self._model.takes_forced_tools:
                raise bad_field(field, f"`{field}` {error}; name its properties.") from None
            return False
        self.output_format = {"type": "json_schema", "schema": closed}
        return True

    def _answer_by_tool(self, description: str, schema: JsonObject) -> None:
        if self.forced:
            # A call of the caller's own tools is forced, so there will be no content to format.
            return
        if not self._model.takes_forced_tools:
            why = "This Claude model answers in JSON only by a schema; use a response format of type `json_schema`."
            self._unsupported.drop_or_reject("response_format", why)
            return
        taken = {tool.get("name") for tool in self._tools}
        self.json_tool = "json_answer"
        while self.json_tool in taken:
            self.json_tool += "_"
        may_call = bool(self._tools) and (self._choice or {}).get("type") != "none"
        self._choice = {"type": "any"} if may_call else {"type": "tool", "name": self.json_tool}
        self._choice["disable_parallel_tool_use"] = True
        self._tools.append({"name": self.json_tool, "description": description, "input_schema": schema})


def _check_property_names(schema: JsonObject, field: str) -> None:
    for name in as_object(schema.get("properties")):
        if not _PROPERTY.fullmatch(name):
            at = f"{field}.properties.{name[:80]}"
            why = "Anthropic takes names of 1 to 64 letters, digits, `_`, `.` and `-`; rename the property."
            raise bad_field(at, f"`{at}`: {why}")


def _structured_output_schema(schema: JsonObject, field: str) -> JsonObject:
    try:
        return structured_output_schema(schema)
    except OpenSchemaError:
        raise
    except ValueError:
        raise bad_field(field, f"`{field}` is nested too deeply for Anthropic.") from None
