"""Translates OpenAI's `tools` and `tool_choice` to Gemini's `tools` and `toolConfig`."""

from services.provider_worker.adapters.gemini.models import takes_json_schema
from services.provider_worker.adapters.gemini.schema import fill_enumerations, openapi_schema
from services.provider_worker.adapters.gemini.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, as_text

_BUILT_IN = frozenset(
    {
        "google_search", "googleSearch", "google_search_retrieval", "googleSearchRetrieval", "url_context", "urlContext",
        "code_execution", "codeExecution", "google_maps", "googleMaps", "file_search", "fileSearch", "computer_use",
        "computerUse", "enterprise_web_search", "enterpriseWebSearch", "retrieval",
    }
)  # fmt: skip
"""Google's own tools, as entries of `tools` in Google's form (`{"google_search": {}}`): an extension of OpenAI's request."""


class ToolTranslator:
    """Translates the tools of one request."""

    def __init__(self, model: str, unsupported: UnsupportedFields) -> None:
        self._model = model
        self._unsupported = unsupported
        self._strict = False

    def tools(self, tools: object) -> list[JsonObject]:
        """Return Gemini's `tools`: all functions in one entry, built-in tools in entries of their own.

        Raises RefusedByAdapter.
        """
        if tools is not None and not isinstance(tools, list):
            raise bad_field("tools", "it must be a list.")
        declarations: list[object] = []
        built_in: list[JsonObject] = []
        for position, tool in enumerate(map(as_object, tools or [])):
            if tool and "type" not in tool and tool.keys() <= _BUILT_IN:
                built_in.append(tool)
            elif tool.get("type") == "function":
                function = as_object(tool.get("function"))
                declarations.append(self._build_declaration(function, f"tools[{position}].function"))
            else:
                raise bad_field(
                    f"tools[{position}].type", "it must be a function, or one of Gemini's own tools in Gemini's form."
                )
        functions: list[JsonObject] = [{"functionDeclarations": declarations}] if declarations else []
        return functions + built_in

    def config(self, choice: object) -> JsonObject | None:
        """Return Gemini's `toolConfig` for `tool_choice`, or null if none is needed. Raises RefusedByAdapter."""
        mode, names = self._read_mode(choice)
        if mode == "AUTO" and (self._strict or names):
            # The only mode that leaves the model free and still enforces schemas or a choice of functions.
            mode = "VALIDATED"
        elif choice is None:
            return None
        config: JsonObject = {"mode": mode}
        return {"functionCallingConfig": config | {"allowedFunctionNames": names} if names else config}

    def _build_declaration(self, function: JsonObject, param: str) -> JsonObject:
        name = as_text(function.get("name"))
        if not name:
            raise bad_field(f"{param}.name", "a function needs a name.")
        made: JsonObject = {"name": name}
        if function.get("description"):
            made["description"] = function["description"]
        schema = fill_enumerations(as_object(function.get("parameters")))
        if takes_json_schema(self._model):
            self._strict = self._strict or function.get("strict") is True
            return made | {"parametersJsonSchema": schema} if schema else made
        if function.get("strict") is True:
            self._unsupported.drop_or_reject(
                f"{param}.strict", "models before Gemini 2.5 do not keep strictly to a schema."
            )
        # Google's subset has no object without properties; a function without parameters has no schema.
        return (
            made | {"parameters": openapi_schema(schema, f"{param}.parameters")} if schema.get("properties") else made
        )

    def _read_mode(self, choice: object) -> tuple[str, list[str]]:
        match choice:
            case None | "auto":
                return "AUTO", []
            case "none":
                return "NONE", []
            case "required":
                return "ANY", []
            case {"type": "function", "function": {"name": str(name)}}:
                return "ANY", [name]
            case {"type": "allowed_tools", "allowed_tools": dict(allowed)}:
                names = [
                    as_text(as_object(tool.get("function")).get("name")) for tool in as_objects(allowed.get("tools"))
                ]
                return ("ANY" if allowed.get("mode") == "required" else "AUTO"), [name for name in names if name]
        raise bad_field("tool_choice", "it must be auto, none, required, a function or allowed_tools.")
