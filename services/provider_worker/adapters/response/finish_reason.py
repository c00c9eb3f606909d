"""Finish reasons in OpenAI's closed set.

Source of the set: the OpenAI API reference, `choices[].finish_reason`. Source of the other values: recorded traffic and
the API references of the providers that use them.
"""

from keyferry.contracts.failure import FailureClass

_OPENAI = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})

_OTHERS = {
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_calls": "tool_calls",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "max_length": "length",
    "model_length": "length",
    "content_filtered": "content_filter",
    "safety": "content_filter",
    "prohibited_content": "content_filter",
    "refusal": "content_filter",
    "sensitive": "content_filter",
}

_FAILURES = {
    "error": FailureClass.SERVER,
    "abort": FailureClass.SERVER,
    "network_error": FailureClass.SERVER,
    "malformed_function_call": FailureClass.SERVER,
    "insufficient_system_resource": FailureClass.OVERLOADED,
}


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
