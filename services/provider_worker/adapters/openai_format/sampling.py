"""Sampling fields of the caller that most providers have under another name."""

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_format.fields import CallerFields

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""How much a model is to think, least first. Source: the OpenAI API reference, `reasoning_effort`; `max` is Anthropic's."""


def read_max_tokens(fields: CallerFields) -> int | None:
    """Return the limit of the completion, in tokens, by its new name or its old one.

    Raises RefusedByAdapter for anything but a positive integer.
    """
    new, old = fields.take("max_completion_tokens"), fields.take("max_tokens")
    name, value = ("max_completion_tokens", new) if new is not None else ("max_tokens", old)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise bad_request(f"`{name}` must be an integer of at least 1.", name)
    return value


def read_stop(fields: CallerFields) -> list[str]:
    """Return the stop sequences. Raises RefusedByAdapter for anything but a text or a list of texts."""
    stop = fields.take("stop")
    if isinstance(stop, str):
        return [stop]
    if stop is None:
        return []
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise bad_request("`stop` must be a text or a list of texts.", "stop")
    return [str(text) for text in stop]


def read_effort(fields: CallerFields) -> str | None:
    """Return the reasoning effort, or null. Raises RefusedByAdapter for a value that is not in `EFFORTS`."""
    effort = fields.take("reasoning_effort")
    if effort is None:
        return None
    if effort not in EFFORTS:
        raise bad_request(f"`reasoning_effort` must be one of: {', '.join(EFFORTS)}.", "reasoning_effort")
    return str(effort)
