"""Sampling fields of the caller that most providers have under another name."""

from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class StopRules:
    """Which stop sequences a provider takes."""

    most: int | None = None
    takes_blank: bool = True
    """Whether one may be nothing but white space; an empty one no provider takes."""


def fit_stop(sequences: list[object], rules: StopRules, drop_or_reject: Callable[[str, str], None]) -> list[object]:
    """Return the stop sequences that a provider takes, each once. Raises RefusedByAdapter unless others may be dropped."""
    kept: list[object] = []
    for position, sequence in enumerate(sequences):
        field = f"stop[{position}]" if len(sequences) > 1 else "stop"
        if not isinstance(sequence, str):
            raise bad_request("`stop` must be a text or a list of texts.", "stop")
        if not sequence or (not rules.takes_blank and not sequence.strip()):
            drop_or_reject(field, "A stop sequence has to hold more than white space." if sequence else "It is empty.")
        elif sequence in kept:
            continue
        elif rules.most is not None and len(kept) == rules.most:
            drop_or_reject(field, f"At most {rules.most} stop sequences are possible.")
        else:
            kept.append(sequence)
    return kept


def read_effort(fields: CallerFields) -> str | None:
    """Return the reasoning effort, or null. Raises RefusedByAdapter for a value that is not in `EFFORTS`."""
    effort = fields.take("reasoning_effort")
    if effort is None:
        return None
    if effort not in EFFORTS:
        raise bad_request(f"`reasoning_effort` must be one of: {', '.join(EFFORTS)}.", "reasoning_effort")
    return str(effort)
