"""Translates the caller's chat to a Converse request.

Source of the shape: the AWS API reference, "Converse".
"""

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.bedrock.content import cache_points
from services.provider_worker.adapters.bedrock.conversation import Conversation
from services.provider_worker.adapters.bedrock.thinking import build_thinking_fields
from services.provider_worker.adapters.openai_format.fields import CallerFields, render_body
from services.provider_worker.adapters.openai_format.sampling import read_effort, read_max_tokens, read_stop
from services.provider_worker.adapters.openai_format.tools import (
    Tool,
    ToolChoice,
    read_response_format,
    read_tool_choice,
    read_tools,
)
from services.provider_worker.adapters.response.json_text import JsonObject, as_object

NATIVE = (
    "additionalModelRequestFields", "additionalModelResponseFieldPaths", "guardrailConfig", "performanceConfig",
    "promptVariables", "requestMetadata", "serviceTier", "outputConfig",
)  # fmt: skip
"""Fields of Converse's own that a caller may send beside OpenAI's; they override the translated fields."""

_MODEL_FIELDS = ("thinking", "top_k")
"""Fields of models' own that callers send at the top level, as with other providers."""


def build_chat_body(run: AttemptRun, fields: CallerFields) -> JsonObject:
    """Build the body of Converse and ConverseStream. Raises RefusedByAdapter for what Bedrock does not support."""
    conversation = Conversation(fields)
    native = _take_native(fields)
    max_tokens = read_max_tokens(fields)
    tools = read_tools(fields)
    choice = read_tool_choice(fields, tools)
    thinking, effort = _translate_effort(fields, run.model, max_tokens)
    translated: JsonObject = {
        "system": conversation.system,
        "inferenceConfig": _translate_sampling(fields, max_tokens),
        "toolConfig": _translate_tools(fields, tools, choice, conversation),
        "additionalModelRequestFields": thinking
        | _limit_to_one_call(fields, run.model, tools, choice)
        | _take_model_fields(fields, run.model),
        "outputConfig": _translate_response_format(fields) | effort,
        "requestMetadata": _translate_metadata(fields),
        "serviceTier": _translate_service_tier(fields),
    }
    fields.reject_rest()
    body: JsonObject = {"messages": conversation.messages}
    body |= {name: value for name, value in translated.items() if value}
    return body | {name: _merge_native(body.get(name), value) for name, value in native.items()}


def _take_native(fields: CallerFields) -> JsonObject:
    native = fields.take_native(NATIVE)
    for name, value in native.items():
        kind, expected = (list, "a list") if name == "additionalModelResponseFieldPaths" else (dict, "an object")
        if not isinstance(value, kind):
            raise bad_request(f"`{name}` must be {expected}.", name)
    return native


def _merge_native(made: object, native: object) -> object:
    return made | native if isinstance(made, dict) and isinstance(native, dict) else native


def _translate_effort(fields: CallerFields, model: str, max_tokens: int | None) -> tuple[JsonObject, JsonObject]:
    effort = read_effort(fields)
    return ({}, {}) if effort is None else build_thinking_fields(fields, model, effort, max_tokens)


def _translate_sampling(fields: CallerFields, max_tokens: int | None) -> JsonObject:
    params = {
        "maxTokens": max_tokens,
        "temperature": fields.take("temperature"),
        "topP": fields.take("top_p"),
        "stopSequences": read_stop(fields) or None,
    }
    return {name: value for name, value in params.items() if value is not None}


def _translate_tools(
    fields: CallerFields, tools: list[Tool], choice: ToolChoice, conversation: Conversation
) -> JsonObject:
    if not tools:
        if conversation.calls_tools:
            raise bad_request(
                "AWS Bedrock needs `tools` beside messages that hold tool calls or their results; send the tools again.",
                "tools",
            )
        return {}
    if choice.mode == "none" and not conversation.calls_tools:
        # Without tools the model cannot call one, which is what `none` means.
        return {}
    entries: list[JsonObject] = []
    for position, tool in enumerate(tools):
        entries.append({"toolSpec": _build_tool_spec(tool)})
        entries += cache_points(f"tools[{position}]", tool.declared)
    config: JsonObject = {"tools": entries}
    if choice.mode == "none":
        fields.drop_or_reject(
            "tool_choice",
            "AWS Bedrock cannot forbid calls where the messages hold tool calls: `tool_choice` is `none`.",
        )
    elif choice.mode == "required":
        config["toolChoice"] = {"any": {}}
    elif choice.mode == "function":
        config["toolChoice"] = {"tool": {"name": choice.name}}
    return config


def _build_tool_spec(tool: Tool) -> JsonObject:
    spec: JsonObject = {"name": tool.name, "inputSchema": {"json": tool.parameters}}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict:
        spec["strict"] = True
    return spec


def _limit_to_one_call(fields: CallerFields, model: str, tools: list[Tool], choice: ToolChoice) -> JsonObject:
    """Translate `parallel_tool_calls: false`, which Converse has only as a field of Claude's, without a `toolChoice`."""
    if fields.take("parallel_tool_calls") is not False or not tools or choice.mode == "none":
        return {}
    if "claude" in model and choice.mode == "auto":
        return {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    fields.drop_or_reject(
        "parallel_tool_calls",
        "AWS Bedrock can forbid parallel tool calls only to Claude models, and only where `tool_choice` is `auto`.",
    )
    return {}


def _take_model_fields(fields: CallerFields, model: str) -> JsonObject:
    params = fields.take_native(_MODEL_FIELDS)
    if "top_k" in params and "nova" in model:
        # Amazon's own models expect it inside an inferenceConfig of their own.
        params["inferenceConfig"] = {"topK": params.pop("top_k")}
    return params


def _translate_response_format(fields: CallerFields) -> JsonObject:
    requested = read_response_format(fields)
    if requested is None:
        return {}
    if requested.schema is None:
        fields.drop_or_reject(
            "response_format",
            "AWS Bedrock has no `response_format` of type `json_object`; use `json_schema`.",
        )
        return {}
    schema: JsonObject = {"schema": render_body(requested.schema).decode()}
    if requested.name:
        schema["name"] = requested.name
    if requested.description:
        schema["description"] = requested.description
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}


def _translate_metadata(fields: CallerFields) -> JsonObject:
    """Translate `metadata` and `user`, which Bedrock writes beside the request into its invocation logs."""
    metadata, user = fields.take("metadata"), fields.take("user")
    params = dict(as_object(metadata))
    if not all(isinstance(value, str) for value in params.values()) or (metadata is not None and not params):
        raise bad_request("`metadata` must be an object whose values are texts.", "metadata")
    if user is not None:
        params["user"] = user
    return params


def _translate_service_tier(fields: CallerFields) -> JsonObject:
    """Translate the service tier: the names are Bedrock's, except `auto`, which is the default."""
    tier = fields.take("service_tier")
    if tier is None or tier == "auto":
        return {}
    if tier not in ("default", "flex", "priority"):
        fields.drop_or_reject(
            "service_tier", "AWS Bedrock supports only `default`, `flex` and `priority` as `service_tier`."
        )
        return {}
    return {"type": tier}
