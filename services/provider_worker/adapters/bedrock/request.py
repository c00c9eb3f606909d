"""Translates the caller's chat to a Converse request.

Source of the shape: the AWS API reference, "Converse".
"""

import re

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.bedrock.content import cache_points
from services.provider_worker.adapters.bedrock.conversation import Conversation
from services.provider_worker.adapters.bedrock.json_answer import answer_tool
from services.provider_worker.adapters.bedrock.models import (
    continues_answers,
    has_plain_tool_schemas,
    has_structured_outputs,
    max_output_tokens,
    takes_cache_points,
    takes_forced_tools,
    takes_named_tool,
    takes_one_of_temperature_and_top_p,
    takes_sampling,
    takes_system,
    takes_tool_cache_points,
    takes_tools,
    top_k_field,
)
from services.provider_worker.adapters.bedrock.thinking import (
    MIN_BUDGET_TOKENS,
    build_thinking_fields,
    find_unthinkable,
)
from services.provider_worker.adapters.openai_format.closed_schema import OpenSchemaError, structured_output_schema
from services.provider_worker.adapters.openai_format.fields import CallerFields, render_body
from services.provider_worker.adapters.openai_format.identifiers import IdentifierRule, hash_user_id
from services.provider_worker.adapters.openai_format.prepared import ChatRules
from services.provider_worker.adapters.openai_format.sampling import (
    StopRules,
    fit_stop,
    read_effort,
    read_max_tokens,
    read_stop,
)
from services.provider_worker.adapters.openai_format.tools import (
    ResponseFormat,
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

_CALL_ID = IdentifierRule(64)
"""Source: the AWS API reference, ToolUseBlock (`[a-zA-Z0-9_-]+`, 64 at most) and ToolSpecification."""
_PLAIN = ("type", "properties", "required")
_WITHOUT_EFFECT = frozenset({"$schema", "$id", "title", "additionalProperties"})
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}", re.ASCII)
_MOST_METADATA = 16
"""Source: the AWS API reference, Converse, `requestMetadata`."""
_LEAST_TOP_P = 0.95
"""Claude's least top_p while it thinks."""


def chat_rules(model: str) -> ChatRules:
    """Return what Bedrock takes of a chat with this model."""
    return ChatRules(call_id=_CALL_ID, takes_cache_control=takes_cache_points(model), restores_thinking=True)


def build_chat_body(run: AttemptRun, fields: CallerFields) -> JsonObject:
    """Build the body of Converse and ConverseStream. Raises RefusedByAdapter for what Bedrock does not support."""
    conversation = Conversation(fields)
    if conversation.system and not takes_system(run.model):
        raise bad_request(
            "This model of AWS Bedrock takes no instructions of the system; put them into a message of the user.",
            "messages",
        )
    if conversation.prefilled is not None and not continues_answers(run.model):
        raise bad_request(
            "This model of AWS Bedrock continues no answer of its own: end `messages` with the user's.",
            conversation.prefilled,
        )
    native = _take_native(fields)
    max_tokens = _limit_tokens(run.model, read_max_tokens(fields))
    tools, choice = _read_tools(fields, run)
    requested = read_response_format(fields)
    answer = answer_tool(run, requested, tools)
    if answer is not None:
        tools, choice, requested = [answer], ToolChoice("function", answer.name), None
    unthinkable = find_unthinkable(run.model, conversation, choice)
    thinking, effort = _translate_effort(fields, run.model, max_tokens, unthinkable)
    thinking |= _take_thinking(fields, run.model, max_tokens, unthinkable)
    asked = thinking | as_object(native.get("additionalModelRequestFields"))
    thinks = as_object(asked.get("thinking")).get("type") in ("enabled", "adaptive")
    translated: JsonObject = {
        "system": conversation.system,
        "inferenceConfig": _translate_sampling(fields, run.model, max_tokens, thinks=thinks),
        "toolConfig": _translate_tools(fields, run.model, tools, choice, conversation),
        "additionalModelRequestFields": thinking
        | _limit_to_one_call(fields, run.model, tools, choice)
        | _take_top_k(fields, run.model, thinks=thinks),
        "outputConfig": _translate_response_format(fields, run.model, requested) | effort,
        "requestMetadata": _translate_metadata(fields),
        "serviceTier": _translate_service_tier(fields),
    }
    fields.reject_rest()
    body: JsonObject = {"messages": conversation.messages}
    body |= {name: value for name, value in translated.items() if value}
    return body | {name: _merge_native(body.get(name), value) for name, value in native.items()}


def _read_tools(fields: CallerFields, run: AttemptRun) -> tuple[list[Tool], ToolChoice]:
    tools = read_tools(fields)
    if not tools or takes_tools(run.model, stream=run.stream):
        return tools, read_tool_choice(fields, tools)
    streamed = " in a stream" if takes_tools(run.model, stream=False) else ""
    fields.drop_or_reject("tools", f"This model of AWS Bedrock calls no tools{streamed}.")
    if fields.take("tool_choice") not in (None, "auto", "none"):
        fields.drop_or_reject("tool_choice")
    return [], ToolChoice("auto")


def _take_native(fields: CallerFields) -> JsonObject:
    native = fields.take_native(NATIVE)
    for name, value in native.items():
        kind, expected = (list, "a list") if name == "additionalModelResponseFieldPaths" else (dict, "an object")
        if not isinstance(value, kind):
            raise bad_request(f"`{name}` must be {expected}.", name)
    return native


def _merge_native(made: object, native: object) -> object:
    return made | native if isinstance(made, dict) and isinstance(native, dict) else native


def _limit_tokens(model: str, max_tokens: int | None) -> int | None:
    """Return the limit within the model's own, which it cannot exceed, and above which Converse rejects the request."""
    most = max_output_tokens(model)
    return max_tokens if max_tokens is None or most is None else min(max_tokens, most)


def _translate_effort(
    fields: CallerFields, model: str, max_tokens: int | None, unthinkable: str | None
) -> tuple[JsonObject, JsonObject]:
    effort = read_effort(fields)
    if effort is None:
        return {}, {}
    if unthinkable is not None and effort != "none":
        fields.drop_or_reject("reasoning_effort", unthinkable)
        return {}, {}
    return build_thinking_fields(fields, model, effort, max_tokens)


def _take_thinking(fields: CallerFields, model: str, max_tokens: int | None, unthinkable: str | None) -> JsonObject:
    """Return Claude's own `thinking`, as callers send it at the top level."""
    thinking = fields.take("thinking")
    if thinking is None:
        return {}
    if as_object(thinking).get("type") != "enabled":
        return {"thinking": thinking}
    if unthinkable is not None:
        fields.drop_or_reject("thinking", unthinkable)
        return {}
    if not takes_sampling(model):
        # From Claude 4.7 on there are no budgets for thinking.
        return {"thinking": {"type": "adaptive"}}
    budget = as_object(thinking).get("budget_tokens")
    if type(budget) is not int or budget < MIN_BUDGET_TOKENS or (max_tokens is not None and budget >= max_tokens):
        raise bad_request(
            f"`thinking.budget_tokens` must be at least {MIN_BUDGET_TOKENS} and less than `max_tokens`.",
            "thinking.budget_tokens",
        )
    return {"thinking": thinking}


def _translate_sampling(fields: CallerFields, model: str, max_tokens: int | None, *, thinks: bool) -> JsonObject:
    temperature = _take_number(fields, "temperature", model, thinks=thinks)
    top_p = _take_number(fields, "top_p", model, thinks=thinks)
    if temperature is not None and top_p is not None and takes_one_of_temperature_and_top_p(model):
        # 1 is the default of both, which goes without saying.
        if top_p != 1 and temperature != 1:
            fields.drop_or_reject("top_p", "This Claude model takes either `temperature` or `top_p`.")
            top_p = None
        elif temperature == 1:
            temperature = None
        else:
            top_p = None
    stop_rules = StopRules(most=4 if "nova" in model else None, takes_blank="claude" not in model)
    params = {
        "maxTokens": max_tokens,
        "temperature": temperature,
        "topP": top_p,
        "stopSequences": fit_stop(list(read_stop(fields)), stop_rules, fields.drop_or_reject) or None,
    }
    return {name: value for name, value in params.items() if value is not None}


def _take_number(fields: CallerFields, name: str, model: str, *, thinks: bool) -> float | None:
    """Return `temperature` or `top_p` from 0 to 1, Converse's range. Raises RefusedByAdapter unless it may be dropped."""
    value = fields.take(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad_request(f"`{name}` must be a number.", name)
    if (thinks or not takes_sampling(model)) and value == 1:
        # The default, for OpenAI and Claude alike.
        return None
    if not takes_sampling(model):
        fields.drop_or_reject(name, f"This Claude model takes no `{name}`.")
    elif thinks and not (name == "top_p" and value >= _LEAST_TOP_P):
        fields.drop_or_reject(name, f"Claude takes no `{name}` while it thinks.")
    elif not 0 <= value <= 1:
        fields.drop_or_reject(name, f"AWS Bedrock takes `{name}` from 0 to 1.")
    else:
        return value
    return None


def _translate_tools(
    fields: CallerFields, model: str, tools: list[Tool], choice: ToolChoice, conversation: Conversation
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
    if choice.mode == "function" and not takes_named_tool(model):
        # With only this function to call, the model calls it where it has to call any.
        tools, choice = [tool for tool in tools if tool.name == choice.name], ToolChoice("required")
    if choice.mode in ("required", "function") and not takes_forced_tools(model):
        fields.drop_or_reject("tool_choice", "This model of AWS Bedrock decides by itself whether to call a tool.")
        choice = ToolChoice("auto")
    config: JsonObject = {"tools": _build_tools(fields, model, tools)}
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


def _build_tools(fields: CallerFields, model: str, tools: list[Tool]) -> list[JsonObject]:
    entries: list[JsonObject] = []
    for position, tool in enumerate(tools):
        path = f"tools[{position}]"
        entries.append({"toolSpec": _build_tool_spec(fields, tool, model, path)})
        points = cache_points(path, tool.declared)
        if points and not takes_tool_cache_points(model):
            fields.drop_or_reject(f"{path}.cache_control", "This model's cache cannot end behind a tool.")
            points = []
        entries += points
    return entries


def _build_tool_spec(fields: CallerFields, tool: Tool, model: str, path: str) -> JsonObject:
    schema, description, strict = tool.parameters, tool.description, tool.strict
    if strict and not has_structured_outputs(model):
        fields.drop_or_reject(f"{path}.function.strict", "This model of AWS Bedrock cannot be held to a tool's schema.")
        strict = False
    if strict:
        try:
            schema = _close_schema(schema, f"{path}.function.parameters")
        except OpenSchemaError as error:
            fields.drop_or_reject(f"{path}.function.strict", f"`{path}.function.parameters` {error}.")
            strict = False
    if has_plain_tool_schemas(model):
        rest = {name: value for name, value in schema.items() if name not in _PLAIN and name not in _WITHOUT_EFFECT}
        schema = {name: schema[name] for name in _PLAIN if name in schema}
        description = f"{description}\n\n{render_body(rest).decode()}".strip() if rest else description
    spec: JsonObject = {"name": tool.name, "inputSchema": {"json": schema}}
    if description.strip():
        spec["description"] = description
    if strict:
        spec["strict"] = True
    return spec


def _close_schema(schema: JsonObject, field: str) -> JsonObject:
    try:
        return structured_output_schema(schema)
    except OpenSchemaError:
        raise
    except ValueError:
        raise bad_request(f"`{field}` is nested too deeply.", field) from None


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


def _take_top_k(fields: CallerFields, model: str, *, thinks: bool) -> JsonObject:
    top_k = fields.take("top_k")
    if top_k is None:
        return {}
    if "claude" in model and (thinks or not takes_sampling(model)):
        fields.drop_or_reject("top_k", "Claude takes no `top_k` while it thinks, nor from Claude 4.7 on.")
        return {}
    if "nova" in model:
        # Amazon's own models expect it inside an inferenceConfig of their own.
        return {"inferenceConfig": {"topK": top_k}}
    name = top_k_field(model)
    if name is None:
        fields.drop_or_reject("top_k", "This model of AWS Bedrock has no `top_k`.")
        return {}
    return {name: top_k}


def _translate_response_format(fields: CallerFields, model: str, requested: ResponseFormat | None) -> JsonObject:
    if requested is None:
        return {}
    if not has_structured_outputs(model):
        fields.drop_or_reject("response_format", "This model of AWS Bedrock cannot be held to a schema.")
        return {}
    if requested.schema is None:
        fields.drop_or_reject(
            "response_format",
            "AWS Bedrock has no `response_format` of type `json_object`; use `json_schema`.",
        )
        return {}
    field = "response_format.json_schema.schema"
    try:
        closed = _close_schema(requested.schema, field)
    except OpenSchemaError as error:
        raise bad_request(
            f"`{field}` {error}; name its properties, or describe it as a list of pairs.", field
        ) from None
    schema: JsonObject = {"schema": render_body(closed).decode()}
    if requested.name:
        schema["name"] = requested.name
    if requested.description:
        schema["description"] = requested.description
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}


def _translate_metadata(fields: CallerFields) -> JsonObject:
    """Translate `metadata` and `user`, which Bedrock writes beside the request into its invocation logs."""
    metadata, user = fields.take("metadata"), fields.take("user")
    params: JsonObject = {}
    if metadata is not None and not isinstance(metadata, dict):
        raise bad_request("`metadata` must be an object whose values are texts.", "metadata")
    for name, value in as_object(metadata).items():
        if not isinstance(value, str):
            raise bad_request("`metadata` must be an object whose values are texts.", "metadata")
        if len(params) < _MOST_METADATA and name and _METADATA.fullmatch(name) and _METADATA.fullmatch(value):
            params[name] = value
        else:
            fields.drop_or_reject(
                f"metadata.{name[:80]}",
                f"AWS Bedrock keeps at most {_MOST_METADATA} entries of 256 letters, digits, spaces and `:_@$#=/+,-.`.",
            )
    if user is not None:
        text = str(user)
        params["user"] = text if _METADATA.fullmatch(text) else hash_user_id(text)
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
