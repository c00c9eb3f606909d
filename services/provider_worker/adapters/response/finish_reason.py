"""Finish reasons in OpenAI's closed set.

Source of the set: the OpenAI API reference, `choices[].finish_reason`. Source of the other values: recorded traffic and
the API references of the providers that use them.
"""

from keyferry.contracts.failure import FailureClass

_OPENAI = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})

_NONE = frozenset({"", "null", "none", "unspecified", "finish_reason_unspecified"})
"""What some servers send while an answer goes on, where OpenAI sends null."""

_OTHERS = {
    "tool_call": "tool_calls",
    "tool-calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_calls": "tool_calls",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "max_length": "length",
    "model_length": "length",
    "max_new_tokens": "length",
    "token_limit": "length",
    "context_length": "length",
    "context_length_exceeded": "length",
    "context_window_exceeded": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "content-filter": "content_filter",
    "guardrail_intervened": "content_filter",
    "blocklist": "content_filter",
    "recitation": "content_filter",
    "spii": "content_filter",
    "safety": "content_filter",
    "prohibited_content": "content_filter",
    "refusal": "content_filter",
    "sensitive": "content_filter",
}

_FAILURES = {
    "error": FailureClass.SERVER,
    "abort": FailureClass.SERVER,
    "network_error": FailureClass.SERVER,
    "server_error": FailureClass.SERVER,
    "internal_error": FailureClass.SERVER,
    "failed": FailureClass.SERVER,
    "timeout": FailureClass.TIMEOUT,
    "malformed_function_call": FailureClass.SERVER,
    "insufficient_system_resource": FailureClass.OVERLOADED,
}


def as_finish_reason(value: object) -> str:
    """Return a finish reason as it was sent, or an empty text where the answer goes on.

    Some servers send the number of a word in a list of their own, or an object with the word as its `type`.
    """
    if isinstance(value, dict):
        value = value.get("type")
    if isinstance(value, int | float):
        return str(value) if value > 0 else ""
    return value if isinstance(value, str) and value.strip().lower() not in _NONE else ""


def failure_class_of_finish_reason(word: str) -> FailureClass | None:
    """Return the failure class that a finish reason reports, or null if it is a regular end."""
    return _FAILURES.get(word.lower())


def openai_finish_reason(word: str, *, calls_tools: bool) -> str:
    """Return `word` in OpenAI's set.

    OpenAI's own values stay, `stop` beside tool calls too: that is what OpenAI answers where `tool_choice` forces the
    function. An unknown value means that the model ended by itself.
    """
    if word in _OPENAI:
        return word
    known = _OTHERS.get(word.lower()) or (word.lower() if word.lower() in _OPENAI else None)
    return known or ("tool_calls" if calls_tools else "stop")
