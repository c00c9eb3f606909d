"""Translates the caller's chat to Cohere's request.

Source of the shapes: Cohere's API reference, "Chat" of API v2.
"""

import re

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.cohere.conversation import translate_messages
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.openai_format.prepared import ChatRules
from services.provider_worker.adapters.openai_format.sampling import (
    StopRules,
    fit_stop,
    read_effort,
    read_max_tokens,
    read_stop,
)
from services.provider_worker.adapters.openai_format.tools import (
    Tool,
    ToolChoice,
    read_response_format,
    read_tool_choice,
    read_tools,
)
from services.provider_worker.adapters.response.json_text import JsonObject

NATIVE = ("documents", "citation_options", "safety_mode", "k", "thinking", "priority", "strict_tools")
"""Fields of Cohere's own that a caller may send beside OpenAI's; they override the translated fields."""

_SAME = ("logprobs",)
_RANGES = {
    "seed": (0, 2**64 - 1),
    "temperature": (0, 1),
    "top_p": (0.01, 0.99),
    "top_k": (0, 500),
    "frequency_penalty": (0, 1),
    "presence_penalty": (0, 1),
}
"""Source: Cohere's API reference, "Chat" of API v2, and the API's error "temperature must be between 0 and 1.0 inclusive"."""
_NO_TOOL_CHOICE = re.compile(r"command-r(?:-|\Z)|command-r-plus|command-(?:light|nightly)|command\Z")
_STOP_RULES = StopRules(most=5)
CHAT_RULES = ChatRules()
"""Cohere's ids of tool calls are free. Source: Cohere's API reference, "Chat" of API v2."""
_THINKING_TOKENS = {"minimal": 512, "low": 2048, "medium": 8192}
"""The most tokens that an effort may think; higher efforts have no limit. Our choice: Cohere has budgets, not efforts."""


def build_chat_body(run: AttemptRun, fields: CallerFields) -> JsonObject:
    """Build the body of `v2/chat`. Raises RefusedByAdapter for what Cohere does not support."""
    body: JsonObject = {"model": run.model, "messages": translate_messages(fields), "stream": run.stream}
    max_tokens = read_max_tokens(fields)
    options = {name: fields.take(name) for name in _SAME}
    options |= {name: _take_within(fields, name, least, most) for name, (least, most) in _RANGES.items()}
    options |= {"p": options.pop("top_p"), "k": options.pop("top_k"), "max_tokens": max_tokens}
    stops = fit_stop(list(read_stop(fields)), _STOP_RULES, fields.drop_or_reject)
    options |= {"stop_sequences": stops or None, "thinking": _translate_effort(fields, max_tokens)}
    tools = _translate_tools(fields, run.model)
    native = fields.take_native(NATIVE)
    options |= {"response_format": _translate_response_format(fields, beside="tools" in tools or "documents" in native)}
    body |= {name: value for name, value in options.items() if value is not None}
    body |= tools | native
    fields.reject_rest()
    return body


def _take_within(fields: CallerFields, name: str, least: float, most: float) -> object:
    """Return a number within Cohere's range. Raises RefusedByAdapter for one outside, unless it may be dropped."""
    value = fields.take(name)
    if value is None or (name == "top_p" and value == 1):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad_request(f"`{name}` must be a number.", name)
    if not least <= value <= most:
        fields.drop_or_reject(name, f"Cohere takes `{name}` from {least} to {most}.")
        return None
    return value


def _translate_effort(fields: CallerFields, max_tokens: int | None) -> JsonObject | None:
    effort = read_effort(fields)
    if effort is None:
        return None
    if effort == "none":
        return {"type": "disabled"}
    budget_tokens = _THINKING_TOKENS.get(effort)
    if budget_tokens is None:
        return {"type": "enabled"}
    # Thinking counts against the completion's limit; half of it is left for the answer.
    bound = budget_tokens if max_tokens is None else max(min(budget_tokens, max_tokens // 2), 1)
    return {"type": "enabled", "token_budget": bound}


def _translate_response_format(fields: CallerFields, *, beside: bool) -> JsonObject | None:
    """Return the format; `beside` says whether there are tools or documents, which Cohere takes none with."""
    requested = read_response_format(fields)
    if requested is None:
        return None
    if beside:
        fields.drop_or_reject("response_format", "Cohere takes no `response_format` beside `tools` or `documents`.")
        return None
    return {"type": "json_object"} | ({} if requested.schema is None else {"json_schema": requested.schema})


def _translate_tools(fields: CallerFields, model: str) -> JsonObject:
    tools = read_tools(fields)
    choice = read_tool_choice(fields, tools)
    if not tools:
        return {}
    if choice.mode != "auto" and _NO_TOOL_CHOICE.search(model):
        fields.drop_or_reject("tool_choice", "Of Cohere's models, Command R7B and newer ones take a `tool_choice`.")
        choice = ToolChoice("auto")
    if choice.mode == "function":
        # Cohere can require a call but not of a named function; with only this function to call, the model calls it.
        tools = [tool for tool in tools if tool.name == choice.name]
    body: JsonObject = {"tools": [_build_tool(tool) for tool in tools]}
    strict = [tool.strict for tool in tools]
    if all(strict):
        body["strict_tools"] = True
    elif any(strict):
        fields.drop_or_reject(
            "tools[].function.strict", "Cohere is strict with all tools or with none: set `strict` on each or on none."
        )
    if choice.mode != "auto":
        body["tool_choice"] = "NONE" if choice.mode == "none" else "REQUIRED"
    return body


def _build_tool(tool: Tool) -> JsonObject:
    function: JsonObject = {"name": tool.name, "parameters": tool.parameters}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}
